import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { ValkeyStore, type ValkeyStoreOptions } from '../../lib/store/valkey-store.ts'
import { SECRET } from './parts-store.ts'

// Construction fails before any of these is used.
const client = { callBuffer: async () => null, on: () => {}, off: () => {} }

const constructors = [
  {
    name: 'InProcessStore',
    open: (options: object) => new InProcessStore({ secrets: [SECRET], ...options }),
  },
  {
    name: 'ValkeyStore',
    open: (options: object) =>
      new ValkeyStore({ client, secrets: [SECRET], ...options } as unknown as ValkeyStoreOptions),
  },
]

const publicKey = createPublicKey(
  generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }),
)

const wrongNumbers = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '60', null, [], {}, true, 1n]

const wrongs: Readonly<Record<string, readonly unknown[]>> = {
  secrets: [
    null,
    '',
    SECRET,
    [],
    [undefined],
    ['short'],
    ['x'.repeat(64)],
    [SECRET, SECRET],
    [5],
    [publicKey],
    {},
    [randomBytes(31)],
  ],
  encrypt: ['yes', 1, null],
  prefix: ['', 'a*', '[a]', 'a b', '{a}', 'ä', 'a\n', 'x'.repeat(65), 5, null],
  ttl: [...wrongNumbers, 100 * 365 * 86_400 + 1],
  absoluteTtl: [...wrongNumbers, () => 5],
  absoluteTtlSurvivesRegenerate: ['yes', 1, null],
  touchAfter: [-1, Number.NaN, Number.POSITIVE_INFINITY, '60', null, 86_400, 86_401],
  maxBytes: [...wrongNumbers, 255, 1000.5, 2 ** 30],
  serializer: [null, 5, 'json', [], JSON.stringify],
  userId: [null, 'user', {}],
  concurrency: ['Merge', '', null, true, 'toString'],
  onInvalid: ['ignore', '', null, false],
  onUnknownKey: ['ignore', '', null, false],
  endedTtl: [...wrongNumbers, () => 5],
  watchIntervalMs: [...wrongNumbers, 99, 3_600_001, 1000.5],
  clock: [null, 5, Date.now, {}, { now: 5 }],
}

const wrongsOfValkey: Readonly<Record<string, readonly unknown[]>> = {
  client: [null, {}, 'valkey://127.0.0.1', undefined],
  connection: [null, 5, 'valkey://127.0.0.1', {}, []],
  unsafeClientSettings: [null, 'tls', ['TLS'], [5], {}],
  connectTimeoutMs: [...wrongNumbers, 1.5, 60_001],
  commandTimeoutMs: [...wrongNumbers, 1.5, 60_001],
  retries: [-1, 1.5, 6, Number.NaN, '1', null],
}

const cases = (table: typeof wrongs) =>
  Object.entries(table).flatMap(([option, values]) =>
    values.map((value) => ({ option, value, options: { [option]: value } })),
  )

function failureOf(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}

describe.each(constructors)('$name', ({ open }) => {
  test.each(cases(wrongs))('refuses the option $option: $value by its name', ({ option, options }) => {
    const error = failureOf(() => open(options))

    expect(error).toBeInstanceOf(TypeError)
    expect(error).toMatchObject({ message: expect.stringContaining(`"${option}`) })
  })

  test.each([
    ['stringify', { parse: JSON.parse }],
    ['parse', { stringify: JSON.stringify }],
  ])('names the missing method %s of a serializer', (method, serializer) => {
    expect(failureOf(() => open({ serializer }))).toMatchObject({
      message: expect.stringContaining(`"serializer.${method}"`),
    })
  })

  test('refuses a touchAfter that is not less than ttl', () => {
    expect(failureOf(() => open({ ttl: 60, touchAfter: 60 }))).toMatchObject({
      message: expect.stringContaining('"touchAfter"'),
    })
    expect(failureOf(() => open({ ttl: 60, touchAfter: 59 }))).toBeUndefined()
  })

  test.each([['tll'], ['secret'], ['disableTTL'], ['__proto'], ['breakers']])(
    'refuses the unknown option %s by its name',
    (option) => {
      const error = failureOf(() => open({ [option]: 1 }))

      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({ message: expect.stringContaining(`"${option}"`) })
    },
  )

  test.each([
    ['tll', /did you mean "ttl"\?/],
    ['TTL', /did you mean "ttl"\?/],
    ['secret', /did you mean "secrets"\?/],
    ['maxSesionsPerUser', /did you mean "maxSessionsPerUser"\?/],
    ['touchAfetr', /did you mean "touchAfter"\?/],
    ['disableTTL', /set "ttl"/],
    ['disableTouch', /set "absoluteTtl"/],
    ['scanCount', /leave it out/],
    ['url', /option of "connection"/],
    ['host', /connection: \{ url: /],
  ])('says what to write instead of %s, and what it knows', (option, hint) => {
    const { message } = failureOf(() => open({ [option]: 1 })) as TypeError

    expect(message).toMatch(hint)
    expect(message).toMatch(/known are .*\bttl\b.*\buserId\b/)
  })

  test('guesses nothing that is far from what it knows', () => {
    expect(String(failureOf(() => open({ cookie: {} })))).not.toMatch(/did you mean|\(/)
  })

  test.each([[null], ['ab'.repeat(8)], [[]], [[`${'ab1'.repeat(16)}\n`]], [[SECRET, SECRET]], [['short']]])(
    'says how to make a secret where %j is refused',
    (secrets) => {
      expect(String(failureOf(() => open({ secrets })))).toContain('openssl rand -hex 32')
    },
  )

  test('never shows a secret that is wrong', () => {
    const secrets = ['hunter2', `hunter2 ${'x'.repeat(20)}`]

    expect(String(failureOf(() => open({ secrets })))).not.toContain('hunter2')
    expect(String(failureOf(() => open({ secrets: secrets[0] })))).not.toContain('hunter2')
  })
})

describe('InProcessStore', () => {
  test.each([[null], ['options'], [[]], [5]])('refuses %j instead of options', (options) => {
    expect(failureOf(() => new InProcessStore(options as unknown as object))).toMatchObject({
      message: expect.stringContaining('"options"'),
    })
  })

  test('needs no option', () => {
    expect(failureOf(() => new InProcessStore())).toBeUndefined()
  })

  test.each([['client'], ['connection'], ['retries']])(
    'does not know the option %s of ValkeyStore',
    (option) => {
      expect(failureOf(() => new InProcessStore({ [option]: undefined } as object))).toMatchObject({
        message: expect.stringContaining(`"${option}"`),
      })
    },
  )
})

describe('ValkeyStore', () => {
  const open = (options: object) => new ValkeyStore(options as ValkeyStoreOptions)

  test.each(cases(wrongsOfValkey))(
    'refuses the option $option: $value by its name',
    ({ option, options }) => {
      const base = option === 'connection' ? { secrets: [SECRET] } : { client, secrets: [SECRET] }
      const error = failureOf(() => open({ ...base, ...options }))

      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({ message: expect.stringContaining(`"${option}`) })
    },
  )

  test('says that a client of node-redis is none', () => {
    const nodeRedis = { sendCommand: async () => null }

    expect(String(failureOf(() => open({ secrets: [SECRET], client: nodeRedis })))).toContain('node-redis')
  })

  test.each(['password', 'username', 'sentinelPassword'])(
    'refuses a connection.%s read with its newline',
    (name) => {
      const connection = { url: 'valkey://127.0.0.1:1', [name]: 'hunter2\n' }
      const message = String(failureOf(() => open({ secrets: [SECRET], connection })))

      expect(message).toMatch(new RegExp(`"connection.${name}" must be without a newline`))
      expect(message).not.toContain('hunter2')
    },
  )

  test.each([
    [{ url: 'valkey://127.0.0.1:1', host: 'a' }, /URL: connection: \{ url/],
    [{ url: 'valkey://127.0.0.1:1', pasword: 'a' }, /did you mean "password"\?/],
    [{ nodes: [{ host: 'a', port: 1, password: 'a' }] }, /option of "connection"/],
  ])('says what to write where "connection" has an unknown option: %#', (connection, hint) => {
    const error = failureOf(() => open({ secrets: [SECRET], connection }))

    expect(error).toMatchObject({ message: expect.stringMatching(hint) })
  })

  test('needs secrets', () => {
    expect(failureOf(() => open({ client }))).toMatchObject({ message: expect.stringContaining('"secrets"') })
  })

  test('needs either a client or a connection, and not both', () => {
    const connection = { url: 'valkey://127.0.0.1:1' }

    expect(failureOf(() => open({ secrets: [SECRET] }))).toMatchObject({
      message: expect.stringContaining('"client"'),
    })
    expect(failureOf(() => open({ secrets: [SECRET], client, connection }))).toMatchObject({
      message: expect.stringContaining('"connection"'),
    })
  })

  test.each([[undefined], [null], ['valkey://127.0.0.1']])('refuses %j instead of options', (options) => {
    expect(failureOf(() => open(options as unknown as object))).toMatchObject({
      message: expect.stringContaining('"options"'),
    })
  })
})
