import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { createSessionStore, type SessionStoreConfig } from '../../lib/store/create-session-store.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { SECRET } from './parts-store.ts'

const CLIENT = {
  callBuffer: async () => null,
  on: () => {},
  off: () => {},
  status: 'end',
  connect: async () => {},
  disconnect: () => {},
}

const asConfig = (config: unknown) => config as SessionStoreConfig

function failureOf(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}

// A process of its own: the warning is given once in a process.
function warningsOf(program: string, environment: string): readonly string[] {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      '--import',
      'tsx',
      '--input-type=module',
      '--no-warnings',
      '--eval',
      `
      import { createSessionStore } from './lib/store/create-session-store.ts'
      process.on('warning', ({ code }) => console.log(code))
      ${program}
    `,
    ],
    { encoding: 'utf8', env: { ...process.env, NODE_ENV: environment } },
  )
  expect(stderr).toBe('')
  return stdout.split('\n').filter((line) => line !== '')
}

describe('createSessionStore', () => {
  test.each([[undefined], [{}], [{ kind: undefined }], [{ kind: 'in-process' }]])(
    'makes an in-process store of %j',
    (config) => {
      expect(createSessionStore(config as SessionStoreConfig)).toBeInstanceOf(InProcessStore)
    },
  )

  test('makes a Valkey store', async () => {
    const store = createSessionStore({ kind: 'valkey', client: CLIENT, secrets: [SECRET] })

    expect(store).toBeInstanceOf(ValkeyStore)
    await store.close()
  })

  test('ignores for memory what only valkey knows, so that the kind alone can be switched', () => {
    const config = {
      kind: 'in-process',
      connection: { url: 'valkey://127.0.0.1:1' },
      retries: 2,
      unsafeClientSettings: ['tls'],
      onUnsafeServer: 'error',
      secrets: [SECRET],
      ttl: 60,
    }

    expect(createSessionStore(asConfig(config))).toBeInstanceOf(InProcessStore)
  })

  test.each([['redis'], [''], [null], [5], ['__proto__'], ['toString']])(
    'refuses the kind %j and names the kinds there are',
    (kind) => {
      const error = failureOf(() => createSessionStore(asConfig({ kind })))

      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({
        message: expect.stringMatching(/"kind" must be 'in-process' or 'valkey'/),
      })
    },
  )

  test.each([
    ['an unknown option', { kind: 'in-process', tll: 5 }, 'tll'],
    ['a client without a kind', { client: {}, secrets: [SECRET] }, 'kind'],
    ['a connection without a kind', { connection: { url: 'valkey://127.0.0.1' }, secrets: [SECRET] }, 'kind'],
    ['an option of valkey without a kind', { kind: undefined, onUnsafeServer: 'refuse' }, 'kind'],
    ['a wrong option of memory', { ttl: -1 }, 'ttl'],
    [
      'a wrong option of valkey',
      { kind: 'valkey', connection: { url: 'http://x' }, secrets: [SECRET] },
      'connection.url',
    ],
    ['valkey without secrets', { kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' } }, 'secrets'],
    ['no object', 'valkey', 'config'],
    ['null', null, 'config'],
  ])('refuses %s by its name', (_, config, name) => {
    expect(failureOf(() => createSessionStore(asConfig(config)))).toMatchObject({
      message: expect.stringContaining(`"${name}"`),
    })
  })

  test('refuses at compile time what it refuses at run time', () => {
    const url = 'valkey://127.0.0.1:1'
    const node = { host: '127.0.0.1', port: 1 }
    const valkey = { kind: 'valkey', secrets: [SECRET] } as const
    const kind = 'connect-redis' as const
    const old = { kind, prefix: 'sess:', until: new Date(2040, 0) }
    const places = { client: CLIENT, connection: { url } }
    const refused = [
      // @ts-expect-error without secrets
      () => createSessionStore({ kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' } }),
      // @ts-expect-error without a client or a connection
      () => createSessionStore({ kind: 'valkey', secrets: [SECRET] }),
      // @ts-expect-error an option of valkey without a kind
      () => createSessionStore({ connection: { url: 'valkey://127.0.0.1:1' }, secrets: [SECRET] }),
      // @ts-expect-error a kind that there is not
      () => createSessionStore({ kind: 'redis' }),
      // @ts-expect-error a connection that says nowhere to connect to
      () => createSessionStore({ ...valkey, connection: { username: 'app' } }),
      // @ts-expect-error a connection to two places
      () => createSessionStore({ ...valkey, connection: { url, nodes: [node] } }),
      // @ts-expect-error sentinels without the name of the primary
      () => createSessionStore({ ...valkey, connection: { sentinels: [node] } }),
      // @ts-expect-error the name of a primary without sentinels
      () => createSessionStore({ ...valkey, connection: { url, sentinelName: 'main' } }),
      // @ts-expect-error a node without a port
      () => createSessionStore({ ...valkey, connection: { nodes: [{ host: '127.0.0.1' }] } }),
      // @ts-expect-error a client and a connection
      () => createSessionStore({ ...valkey, connection: { url }, client: CLIENT }),
      // @ts-expect-error an unknown option of a connection
      () => createSessionStore({ ...valkey, connection: { url, pasword: 'x' } }),
      // @ts-expect-error old sessions without an end
      () => createSessionStore({ ...valkey, connection: { url }, legacy: { kind, prefix: 'sess:' } }),
      // @ts-expect-error old sessions in two places
      () => createSessionStore({ ...valkey, connection: { url }, legacy: { ...old, ...places } }),
      // @ts-expect-error a breaker that is neither options nor false
      () => createSessionStore({ ...valkey, connection: { url }, breaker: true }),
      // @ts-expect-error an unknown policy
      () => createSessionStore({ kind: 'in-process', concurrency: 'last-wins' }),
      // @ts-expect-error an unknown option
      () => createSessionStore({ kind: 'in-process', tll: 5 }),
    ]

    for (const refusal of refused) expect(refusal).toThrow(TypeError)
  })

  test('warns once in production when no kind is configured', () => {
    const twice = 'createSessionStore(); createSessionStore({})'

    expect(warningsOf(twice, 'production')).toEqual(['ESV_MEMORY_STORE'])
  })

  test.each([
    ['memory is asked for', "createSessionStore({ kind: 'in-process' })", 'production'],
    ['it is not production', 'createSessionStore()', 'development'],
  ])('does not warn when %s', (_, program, environment) => {
    expect(warningsOf(program, environment)).toEqual([])
  })
})
