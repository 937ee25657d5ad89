import { mkdir, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { breakable } from '../../examples/demo/labs/breakable.ts'
import { OUTAGES, runOutage } from '../../examples/demo/labs/outage.ts'
import { runRace } from '../../examples/demo/labs/race.ts'
import { runStored } from '../../examples/demo/labs/stored.ts'
import {
  LAB_PREFIX,
  type LabStores,
  openLabStores,
  PATIENCE_MS,
  PLAIN_PREFIX,
} from '../../examples/demo/labs/stores.ts'
import { runTaint } from '../../examples/demo/labs/taint.ts'
import { runTokens } from '../../examples/demo/labs/tokens.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { type RaceFrame, raceFilm } from './race-film.ts'

const nothing = () => {}

describe.each(['in process', 'on Valkey'])('the labs %s', (place) => {
  let server: ValkeyServer | undefined
  let stores: LabStores

  beforeAll(async () => {
    if (place === 'on Valkey')
      server = await startValkey({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  })

  beforeEach(async () => {
    stores = await openLabStores(server?.url, PATIENCE_MS)
  })

  afterEach(async () => {
    await stores?.close()
  })

  afterAll(async () => {
    await server?.stop()
  })

  it('race: nobody comes back and nothing is lost, which the other store cannot say', async () => {
    const { store, plain } = stores
    const terms = { signOuts: 20, updates: 64, paceMs: 0 }
    let reports = 0
    const scores = await runRace(
      [
        { name: 'ours', store },
        { name: 'theirs', store: plain },
      ],
      terms,
      () => {
        reports += 1
      },
    )

    expect(scores).toEqual([
      { name: 'ours', signedOut: 20, cameBack: 0, acknowledged: 64, kept: 64 },
      { name: 'theirs', signedOut: 20, cameBack: 20, acknowledged: 64, kept: 1 },
    ])
    expect(reports).toBeGreaterThan(2 * 20 + 2 * 64)
  })

  it('taint: what was open to the session is closed to it once it has read a customer', async () => {
    const { store, labels } = stores
    const steps = await runTaint({ store, labels, paceMs: 0 }, nothing)

    expect(steps.map(({ path, status, labels }) => [path, status, labels])).toEqual([
      ['/export', 200, []],
      ['/customers/7', 200, ['pii']],
      ['/handbook', 200, ['pii']],
      ['/export', 403, ['pii']],
      ['/mail', 403, ['pii']],
    ])
  })

  it('tokens: two tabs get one successor, and a copied token ends the family', async () => {
    const events = await runTokens({ store: stores.store, graceS: 1, paceMs: 0 }, nothing)
    const facts = events.map(({ atMs: _, ...event }) => event)

    expect(facts.slice(0, 2)).toEqual([
      { holder: 'tab 1', action: 'sign-in', status: 200, received: 0 },
      { holder: 'thief', action: 'copy', presented: 0 },
    ])
    expect(facts.slice(2, 4)).toEqual(
      expect.arrayContaining([
        { holder: 'tab 1', action: 'refresh', presented: 0, status: 200, received: 1 },
        { holder: 'tab 2', action: 'refresh', presented: 0, status: 200, received: 1 },
      ]),
    )
    expect(facts.slice(4)).toEqual([
      { holder: 'tab 1', action: 'refresh', presented: 1, status: 200, received: 2 },
      { holder: 'thief', action: 'refresh', presented: 0, status: 400, outcome: 'invalid_grant' },
      { holder: 'tab 1', action: 'refresh', presented: 2, status: 400, outcome: 'invalid_grant' },
      { holder: 'tab 1', action: 'look', outcome: 'refresh-reused' },
    ])
  })
})

describe('the labs that need a Valkey of their own', () => {
  let server: ValkeyServer
  let stores: LabStores

  beforeAll(async () => {
    server = await startValkey({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  })

  beforeEach(async () => {
    stores = await openLabStores(server?.url)
  })

  afterEach(async () => {
    await stores?.close()
  })

  afterAll(async () => {
    await server?.stop()
  })

  // The film at the top of the README, as the screenshots of the rooms: made of a race that was run.
  if (process.env['SCREENSHOTS'] === '1')
    it('race: is filmed', async () => {
      const totals = { signOuts: 50, updates: 64 }
      const contenders = [
        { name: 'express-session-valkey', store: stores.store },
        { name: 'connect-redis', store: stores.plain },
      ]
      const frames: RaceFrame[] = []
      const from = performance.now()
      await runRace(contenders, { ...totals, paceMs: 150 }, (scores) => {
        frames.push({ atMs: performance.now() - from, scores })
      })

      await mkdir(new URL('../../docs/images/', import.meta.url), { recursive: true })
      const file = new URL('../../docs/images/race-lab.svg', import.meta.url)
      await writeFile(file, raceFilm(frames, totals))
    })

  it.each(OUTAGES)('outage: %s', async (outage) => {
    const { store } = stores
    const terms = { store, server: breakable(server), outage, phaseMs: 700, everyMs: 50 }
    const { samples, isSignedIn } = await runOutage(terms, nothing)
    const statuses = (phase: string, kind: string) =>
      new Set(samples.filter((one) => one.phase === phase && one.kind === kind).map(({ status }) => status))

    // On a busy machine a command may fail at any time, and after READONLY the client connects anew.
    expect([...statuses('before', 'write')]).toContain(200)
    expect([...statuses('during', 'write')]).toContain(503)
    if (outage === 'fill' || outage === 'read-only') expect([...statuses('during', 'read')]).toContain(200)
    expect(samples.map(({ status }) => status).filter((status) => ![200, 503].includes(status))).toEqual([])
    expect([...statuses('after', 'write')]).toContain(200)
    expect(samples.filter(({ isStranger }) => isStranger)).toEqual([])
    expect(isSignedIn).toBe(true)
  })

  it('stored: nothing can be read, a flipped bit is refused, and JSON is neither', async () => {
    const { store, plain } = stores
    const reader = server.client()
    const terms = { store, plain, reader, prefix: LAB_PREFIX, plainPrefix: PLAIN_PREFIX }

    const { sealed, plain: open } = await runStored(terms)

    expect(sealed.user).toEqual({ asStored: 'ann', changed: undefined, putBack: 'ann' })
    expect(sealed.isReadable).toBe(false)
    expect(sealed.parts.map(({ name, bytes }) => [name, bytes.length])).toMatchObject([
      ...[
        ['format', 1],
        ['expiry', 13],
        ['hard end', 13],
        ['owner', 43],
      ],
      ...[
        ['magic', 3],
        ['version', 1],
        ['mode', 1],
        ['key id', 8],
      ],
      ...[
        ['nonce', 24],
        ['ciphertext', expect.any(Number)],
        ['tag', 16],
        ['MAC', 32],
      ],
    ])
    expect(sealed.parts.find(({ name }) => name === 'magic')?.bytes.toString()).toBe('ESV')
    expect(sealed.otherKeys.length).toBeGreaterThan(0)
    expect(open.text).toContain('the spare key is under the blue pot')
    expect(open.hasSessionId).toBe(true)
    expect(open.user).toEqual({ asStored: 'ann', changed: 'admin' })
  })
})
