import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../../support/random.ts'
import { SEED } from '../../support/seed.ts'
import { PlantedSecret } from '../planted-secret.ts'
import { type MakeStore, Standalone } from '../standalone.ts'
import { authMutants } from './auth-mutants.ts'
import { findings, runRound } from './mutant.ts'
import { mutants, workloadMutants } from './mutants.ts'
import { type AuthBuild, mutatedAuth, mutatedBuild } from './mutated-build.ts'
import { ProbeSite } from './probe-site.ts'
import { probedMutants } from './probed-mutants.ts'

// MUTANT_SAMPLE tries that many of them, chosen by SEED, instead of all.
const sampleSize = Number(process.env['MUTANT_SAMPLE'] ?? Number.POSITIVE_INFINITY)
const chosen = sampled(mutants.map(({ name }) => name))
console.log(`mutants: ${chosen.size} of ${mutants.length}`)

const planted = new PlantedSecret()
let place: Standalone

beforeAll(async () => {
  place = await Standalone.start({ planted, proxies: 3 })
})

afterAll(() => place.stop())

describe('the checker finds a mutant in which', () => {
  it.each(named(workloadMutants.filter(({ name }) => chosen.has(name))))('%s', async (_, mutant) => {
    const found = await findings(place, planted, mutant)

    expect(
      [...found].filter((check) => mutant.found.includes(check)),
      `found only: ${[...found].join(', ')}`,
    ).not.toEqual([])
  })
})

it('no fault is found with a build in which nothing is changed', async () => {
  const make = await mutatedBuild('nothing', [])
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

  const { violations } = await runRound({ place, planted, mutant: { faults }, make })

  expect(violations).toEqual([])
})

describe('one probe finds a mutant in which', () => {
  let site: ProbeSite
  let sound: MakeStore

  beforeAll(async () => {
    site = await ProbeSite.open()
    sound = await mutatedBuild('sound', [])
  })

  afterAll(() => site.close())

  it.each(named(probedMutants.filter(({ name }) => chosen.has(name))))(
    '%s',
    async (name, { patches, holds }) => {
      const mutated = await mutatedBuild(name, patches)

      expect({ sound: await probed(sound, holds), mutant: await probed(mutated, holds) }).toEqual({
        sound: true,
        mutant: false,
      })
    },
  )

  async function probed(make: MakeStore, holds: (typeof probedMutants)[number]['holds']): Promise<boolean> {
    const ground = site.ground(make)
    try {
      return await holds(ground)
    } finally {
      await ground.close()
    }
  }
})

describe('one probe of the token routes finds a mutant in which', () => {
  let sound: AuthBuild

  beforeAll(async () => {
    sound = await mutatedAuth('sound-auth', [])
  })

  it.each(named(authMutants.filter(({ name }) => chosen.has(name))))(
    '%s',
    async (name, { patches, holds }) => {
      const mutated = await mutatedAuth(name, patches)

      expect({ sound: await holds(sound), mutant: await holds(mutated) }).toEqual({
        sound: true,
        mutant: false,
      })
    },
  )
})

function sampled(names: readonly string[]): ReadonlySet<string> {
  const random = new Random(SEED)
  const inAnyOrder = names
    .map((name) => ({ name, at: random.fraction() }))
    .sort((one, other) => one.at - other.at)
  return new Set(inAnyOrder.slice(0, sampleSize).map(({ name }) => name))
}

// Vitest cuts long names where it takes them from an object.
function named<Item extends { readonly name: string }>(items: readonly Item[]): [string, Item][] {
  return items.map((item) => [item.name, item])
}
