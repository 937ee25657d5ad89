import { Redis } from 'iovalkey'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { safeClientOptions } from '../../lib/backend/valkey/connection/client-settings.ts'
import { createLabelStore, type LabelStoreConfig } from '../../lib/labels/create-label-store.ts'
import { KeyedLabelStore } from '../../lib/labels/keyed-label-store.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { newSid, openMemory } from './subjects.ts'

const create = (config: unknown) => () => createLabelStore(config as LabelStoreConfig)

function unconnected(): Redis {
  const client = new Redis({ ...safeClientOptions(), lazyConnect: true, host: '127.0.0.1', port: 1 })
  onTestFinished(() => client.disconnect())
  return client
}

describe('createLabelStore', () => {
  it.each([[undefined], [{}], [{ kind: undefined }], [{ kind: 'memory' }]])(
    'makes an in-process store of %j',
    async (config) => {
      const store = create(config)()
      const sid = newSid()

      await store.add(sid, ['pii'])

      expect((await store.load(sid)).labels).toEqual(new Set(['pii']))
      expect((await createLabelStore({ kind: 'memory' }).load(sid)).state).toBe('empty')
    },
  )

  it('makes a Valkey store of a client or a connection', async () => {
    const given = createLabelStore({ kind: 'valkey', client: unconnected() })
    const made = createLabelStore({
      kind: 'valkey',
      connection: { url: 'valkey://127.0.0.1:1' },
      connectTimeoutMs: 20,
      onAlarm: () => {},
    })
    onTestFinished(() => made.close())

    expect(given).toBeInstanceOf(KeyedLabelStore)
    await expect(made.load(newSid())).rejects.toMatchObject({ code: 'ERR_STORE_UNAVAILABLE' })
  })

  it('ignores for memory what only valkey knows, so that a configuration can be switched', () => {
    const connection = { url: 'valkey://127.0.0.1:1' }

    expect(
      create({ kind: 'memory', connection, connectTimeoutMs: 1, commandTimeoutMs: 1, retries: 0 }),
    ).not.toThrow()
  })

  it('makes the kinds a host adds, with their options', () => {
    const { store } = openMemory()
    const seen: unknown[] = []
    const factory = (options: object): LabelStore => {
      seen.push(options)
      return store
    }

    expect(createLabelStore({ kind: 'etcd', prefix: 'x' }, { etcd: factory })).toBe(store)
    expect(seen).toEqual([{ prefix: 'x' }])
    expect(() => createLabelStore({ kind: 'toString' }, { etcd: factory })).toThrow(
      /one of 'memory', 'valkey', 'etcd'/,
    )
  })

  it.each<[unknown, RegExp]>([
    [null, /"config"/],
    [{ client: {} }, /"kind" must be 'valkey' where "client" is given/],
    [{ kind: undefined, connection: { url: 'valkey://127.0.0.1' } }, /"kind" must be 'valkey'.*"connection"/],
    [{ kind: 'redis' }, /"kind" must be one of 'memory', 'valkey'/],
    [{ kind: 'memory', sttl: 1 }, /"sttl"/],
    [{ kind: 'memory', prefix: 'taint{1}' }, /"prefix"/],
    [{ kind: 'memory', ttl: 0 }, /"ttl"/],
    [{ kind: 'memory', ttl: '60' }, /"ttl"/],
    [{ kind: 'memory', ttl: Number.NaN }, /"ttl"/],
    [{ kind: 'memory', slidingTtl: 'yes', ttl: 1 }, /"slidingTtl"/],
    [{ kind: 'memory', slidingTtl: true }, /"slidingTtl".*"ttl"/],
    [{ kind: 'memory', longestSessionTtl: -1 }, /"longestSessionTtl"/],
    [{ kind: 'memory', declassifySecret: 'short' }, /"declassifySecret".*openssl rand -hex 32/],
    [{ kind: 'memory', declassifySecret: `${'x'.repeat(32)}\n` }, /"declassifySecret".*white space/],
    [
      { kind: 'memory', declassifySecret: Buffer.from(`${'x'.repeat(32)}\n`) },
      /"declassifySecret".*white space/,
    ],
    [{ kind: 'memory', onAlarm: true }, /"onAlarm"/],
    [{ kind: 'memory', onAudit: {} }, /"onAudit"/],
    [{ kind: 'memory', clock: {} }, /"clock.now"/],
    [{ kind: 'valkey' }, /"client"/],
    [{ kind: 'valkey', client: {} }, /"client"/],
    [
      { kind: 'valkey', client: { callBuffer: () => {} }, connection: { url: 'valkey://127.0.0.1' } },
      /"connection"/,
    ],
    [{ kind: 'valkey', connection: { url: 'nowhere' } }, /"connection.url"/],
    [
      { kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' }, connectTimeoutMs: 0 },
      /"connectTimeoutMs"/,
    ],
    [
      { kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' }, commandTimeoutMs: 0.5 },
      /"commandTimeoutMs"/,
    ],
    [{ kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' }, retries: 6 }, /"retries"/],
    [{ kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' }, breaker: true }, /"breaker"/],
    [
      { kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' }, breaker: { failures: 0 } },
      /"breaker.failures"/,
    ],
    [{ kind: 'valkey', connection: { url: 'valkey://127.0.0.1:1' }, breaker: { afterMs: 1 } }, /"afterMs"/],
  ])('refuses %j by name', (config, message) => {
    expect(create(config)).toThrow(TypeError)
    expect(create(config)).toThrow(message)
  })

  it('does not quote a secret that is too short', () => {
    expect(create({ kind: 'memory', declassifySecret: 'canary' })).not.toThrow('canary')
  })

  it.each<[string, number]>([
    ['production', 1],
    ['development', 0],
  ])('warns in %s of labels that nobody configured: %d time', async (environment, times) => {
    vi.stubEnv('NODE_ENV', environment)
    vi.resetModules()
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    onTestFinished(() => {
      vi.unstubAllEnvs()
      warn.mockRestore()
    })
    // The warning is given once in a process: this is a module that has not given it.
    const fresh = await import('../../lib/labels/create-label-store.ts')

    for (const config of [undefined, {}, { kind: 'memory' }]) fresh.createLabelStore(config)

    expect(warn.mock.calls.map(([, options]) => options)).toEqual(
      Array(times).fill({ code: 'ESV_MEMORY_LABELS' }),
    )
  })
})
