import { describe, expect, test } from 'vitest'
import { safeClientOptions, safeClusterOptions } from '../lib/backend/valkey/connection/client-settings.ts'
import { sessionAdmin } from '../lib/http/admin/session-admin.ts'
import { sessionGuard } from '../lib/http/guard/session-guard.ts'
import { taintLabels } from '../lib/http/labels/taint-labels.ts'
import { createLabelStore } from '../lib/labels/create-label-store.ts'
import { checkKnown } from '../lib/option.ts'
import { createSessionStore } from '../lib/store/create-session-store.ts'
import { InProcessStore } from '../lib/store/in-process-store.ts'

const store = new InProcessStore()
const labels = createLabelStore({ kind: 'in-process' })
const url = 'valkey://127.0.0.1:1'
const secrets = ['0123456789abcdef0123456789abcdef']

/** Whatever takes an object of options, with one more than it knows. */
const takers: readonly (readonly [owner: string, knows: string, take: (extra: object) => unknown])[] = [
  ['the store', 'userId', (extra) => new InProcessStore(extra)],
  [
    'the store',
    'connection',
    (extra) => createSessionStore({ kind: 'valkey', connection: { url }, secrets, ...extra }),
  ],
  [
    '"connection"',
    'sentinels',
    (extra) =>
      createSessionStore({ kind: 'valkey', connection: { url, ...extra } as { url: string }, secrets }),
  ],
  [
    '"breaker"',
    'halfOpenAfterMs',
    (extra) => createSessionStore({ kind: 'valkey', connection: { url }, secrets, breaker: extra }),
  ],
  ['the label store', 'declassifySecret', (extra) => createLabelStore({ kind: 'in-process', ...extra })],
  ['sessionGuard', 'onError', (extra) => sessionGuard({ store, ...extra })],
  ['sessionAdmin', 'authorize', (extra) => sessionAdmin({ store, authorize: () => true, ...extra })],
  ['taintLabels', 'subject', (extra) => taintLabels({ store: labels, ...extra })],
  ['safeClientOptions', 'connectTimeoutMs', safeClientOptions],
  ['safeClusterOptions', 'connectTimeoutMs', safeClusterOptions],
]

async function failureOf(work: () => unknown): Promise<unknown> {
  try {
    return await work()
  } catch (error) {
    return error
  }
}

describe.each(takers)('%s, which knows "%s"', (owner, knows, take) => {
  test.each([
    ['disableTTL', 'every session expires: set "ttl"'],
    ['disableTouch', 'set "absoluteTtl"'],
    ['scanCount', 'leave it out'],
  ])('says what to write instead of %s of connect-redis', async (name, hint) => {
    const error = await failureOf(() => take({ [name]: 1 }))

    expect(error).toBeInstanceOf(TypeError)
    expect(error).toMatchObject({
      message: expect.stringContaining(`Unknown option "${name}" of ${owner} (`),
    })
    expect(error).toMatchObject({ message: expect.stringContaining(hint) })
    expect(error).toMatchObject({ message: expect.stringMatching(new RegExp(`; known are .*${knows}`)) })
  })

  test('asks whether a neighbour of its options was meant', async () => {
    const swapped = knows.replace(/(.)(.)$/, '$2$1')

    expect(await failureOf(() => take({ [swapped]: 1 }))).toMatchObject({
      message: expect.stringContaining(`did you mean "${knows}"?`),
    })
  })
})

const valkey = (options: object) => () =>
  createSessionStore({ kind: 'valkey', connection: { url }, secrets, ...options })

test.each<[string, () => unknown, string]>([
  [
    'a call',
    () => store.registry.list('alice', { includeEnded: 1 } as object),
    'Option "includeEnded" must be true or false, got 1',
  ],
  [
    'a call that ends sessions',
    () => store.registry.endAll('alice', { kind: 'cookie' } as object),
    `Option "kind" must be one of 'session', 'token', got "cookie"`,
  ],
  [
    'settings of a client',
    () => safeClientOptions({ connectTimeoutMs: 0 }),
    'Option "connectTimeoutMs" must be a number from 1 to 60000, got 0',
  ],
  [
    'an option that has options',
    valkey({ breaker: { failures: 0 } }),
    'Option "breaker.failures" must be a number from 1 to 1000, got 0',
  ],
  [
    'a connection without sentinels',
    valkey({ connection: { url, sentinelName: 'main' } }),
    'Option "connection.sentinelName" must be left out without "sentinels"',
  ],
  [
    'a connection, which may hold a password',
    valkey({ connection: 'valkey://:pw@h' }),
    'Option "connection" must be an object',
  ],
  [
    'a call to a label store',
    () => labels.load('some-session', { atLeastMs: -1 }),
    'Option "atLeastMs" must be a number from 0 to 3153600000000, got -1',
  ],
])('A wrong option of %s is named, with what it must be', async (_, call, message) => {
  expect(await failureOf(call)).toMatchObject({ name: 'TypeError', message })
})

describe('Options that are not of a store', () => {
  test.each(['ttl', 'prefix', 'serializer', 'client'])('say that %s is one', async (name) => {
    expect(await failureOf(() => sessionGuard({ store, [name]: 1 }))).toMatchObject({
      message: expect.stringContaining('it is an option of the store'),
    })
  })
})

describe('A guess', () => {
  const guessOf = (name: string, known: readonly string[]): unknown => {
    try {
      checkKnown({ [name]: 1 }, known, 'it')
    } catch (error) {
      return /did you mean "(.*)"\?/.exec(String(error))?.[1]
    }
    return 'known'
  }

  test.each([
    ['excpet', 'except'],
    ['exept', 'except'],
    ['excepts', 'except'],
    ['axcept', 'except'],
    ['EXCEPT', 'except'],
    ['reasom', 'reason'],
    ['actro', 'actor'],
    ['cause', undefined],
    ['session', undefined],
    ['', undefined],
    ['x'.repeat(10_000), undefined],
  ])('for %j is %j', (name, guess) => {
    expect(guessOf(name, ['except', 'reason', 'actor'])).toBe(guess)
  })

  test('is the nearest of several', () => {
    expect(guessOf('commandTimeoutMz', ['connectTimeoutMs', 'commandTimeoutMs'])).toBe('commandTimeoutMs')
  })
})
