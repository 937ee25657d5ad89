import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { brokenBuild } from './broken-build.ts'
import { Canary } from './canary.ts'
import { ProbeSite } from './probe-site.ts'
import { probedSabotages } from './probes.ts'
import { Random, runSeed } from './random.ts'
import { findings, runRound } from './sabotage.ts'
import { sabotages } from './sabotages.ts'
import { type MakeStore, Standalone } from './standalone.ts'

// MUTANT_SAMPLE tries that many of them, chosen by FAULTS_SEED, instead of all.
const sampleSize = Number(process.env['MUTANT_SAMPLE'] ?? Number.POSITIVE_INFINITY)
const seed = runSeed()
const chosen = sampled([...sabotages, ...probedSabotages].map(({ name }) => name))
console.log(`mutants: ${chosen.size}, FAULTS_SEED=${seed}`)

const canary = new Canary()
let place: Standalone

beforeAll(async () => {
  place = await Standalone.start({ canary, proxies: 3 })
})

afterAll(() => place.stop())

describe('a build is found to be broken in which', () => {
  it.each(named(sabotages.filter(({ name }) => chosen.has(name))))('%s', async (_, sabotage) => {
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

describe('one look shows that a build is broken in which', () => {
  let site: ProbeSite
  let sound: MakeStore

  beforeAll(async () => {
    site = await ProbeSite.open()
    sound = await brokenBuild('sound', [])
  })

  afterAll(() => site.close())

  it.each(named(probedSabotages.filter(({ name }) => chosen.has(name))))(
    '%s',
    async (name, { patches, holds }) => {
      const broken = await brokenBuild(name, patches)

      expect({ sound: await probed(sound, holds), broken: await probed(broken, holds) }).toEqual({
        sound: true,
        broken: false,
      })
    },
  )

  async function probed(make: MakeStore, holds: (typeof probedSabotages)[number]['holds']): Promise<boolean> {
    const ground = site.ground(make)
    try {
      return await holds(ground)
    } finally {
      await ground.close()
    }
  }
})

function sampled(names: readonly string[]): ReadonlySet<string> {
  const random = new Random(seed)
  const inAnyOrder = names
    .map((name) => ({ name, at: random.fraction() }))
    .sort((one, other) => one.at - other.at)
  return new Set(inAnyOrder.slice(0, sampleSize).map(({ name }) => name))
}

// Vitest cuts long names where it takes them from an object.
function named<Item extends { readonly name: string }>(items: readonly Item[]): [string, Item][] {
  return items.map((item) => [item.name, item])
}
