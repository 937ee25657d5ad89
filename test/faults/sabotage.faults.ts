import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { brokenBuild } from './broken-build.ts'
import { Canary } from './canary.ts'
import { findings, runRound } from './sabotage.ts'
import { sabotages } from './sabotages.ts'
import { Standalone } from './standalone.ts'

const canary = new Canary()
let place: Standalone

beforeAll(async () => {
  place = await Standalone.start({ canary, proxies: 3 })
})

afterAll(() => place.stop())

describe('a build is found to be broken in which', () => {
  it.each(sabotages)('$name', async (sabotage) => {
    const found = await findings(place, canary, sabotage)

    expect(
      [...found].filter((check) => sabotage.found.includes(check)),
      `found only: ${[...found].join(', ')}`,
    ).not.toEqual([])
  })
})

it('no fault is found with a build in which nothing is changed', async () => {
  const make = await brokenBuild('nothing', [])
  const faults = [
    'drop reply',
    'cut inside a reply',
    'reset',
    'full memory',
    'no replica',
    'freeze',
    'refuse',
    'delay request',
  ]

  const { violations } = await runRound({ place, canary, sabotage: { faults }, make })

  expect(violations).toEqual([])
})
