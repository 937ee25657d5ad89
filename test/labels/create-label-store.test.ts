import { Redis } from 'iovalkey'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { safeClientOptions } from '../../lib/backend/valkey/connection/client-settings.ts'
import { createLabelStore, type LabelStoreConfig } from '../../lib/labels/create-label-store.ts'
import { KeyedLabelStore } from '../../lib/labels/keyed-label-store.ts'
import { newSid } from './subjects.ts'

const create = (config: unknown) => () => createLabelStore(config as LabelStoreConfig)

function unconnected(): Redis {
  const client = new Redis({ ...safeClientOptions(), lazyConnect: true, host: '127.0.0.1', port: 1 })
  onTestFinished(() => client.disconnect())
  return client
}

describe('createLabelStore', () => {
  it.each([[undefined], [{}], [{ kind: undefined }], [{ kind: 'in-process' }]])(
    'makes an in-process store of %j',
    async (config) => {
      const store = create(config)()
      const sid = newSid()

      await store.add(sid, ['pii'])

      expect((await store.load(sid)).labels).toEqual(new Set(['pii']))
      expect((await createLabelStore({ kind: 'in-process' }).load(sid)).state).toBe('empty')
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
      create({ kind: 'in-process', connection, connectTimeoutMs: 1, commandTimeoutMs: 1, retries: 0 }),
    ).not.toThrow()
  })

  it.each<[unknown, RegExp]>([
    [null, /"config"/],
    [{ client: {} }, /"kind" must be 'valkey' where "client" is given/],
    [{ kind: undefined, connection: { url: 'valkey://127.0.0.1' } }, /"kind" must be 'valkey'.*"connection"/],
    [{ kind: 'redis' }, /"kind" must be 'in-process' or 'valkey'/],
    [{ kind: 'in-process', sttl: 1 }, /"sttl"/],
    [{ kind: 'in-process', prefix: 'taint{1}' }, /"prefix"/],
    [{ kind: 'in-process', ttl: 0 }, /"ttl"/],
    [{ kind: 'in-process', ttl: '60' }, /"ttl"/],
    [{ kind: 'in-process', ttl: Number.NaN }, /"ttl"/],
    [{ kind: 'in-process', slidingTtl: 'yes', ttl: 1 }, /"slidingTtl"/],
    [{ kind: 'in-process', slidingTtl: true }, /"slidingTtl".*"ttl"/],
    [{ kind: 'in-process', longestSessionTtl: -1 }, /"longestSessionTtl"/],
    [{ kind: 'in-process', declassifySecret: 'short' }, /"declassifySecret".*openssl rand -hex 32/],
    [{ kind: 'in-process', declassifySecret: `${'x'.repeat(32)}\n` }, /"declassifySecret".*white space/],
    [
      { kind: 'in-process', declassifySecret: Buffer.from(`${'x'.repeat(32)}\n`) },
      /"declassifySecret".*white space/,
    ],
    [{ kind: 'in-process', onAlarm: true }, /"onAlarm"/],
    [{ kind: 'in-process', onAudit: {} }, /"onAudit"/],
    [{ kind: 'in-process', clock: {} }, /"clock.now"/],
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
    expect(create({ kind: 'in-process', declassifySecret: 'canary' })).not.toThrow('canary')
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

    for (const config of [undefined, {}, { kind: 'in-process' }] as const) fresh.createLabelStore(config)

    expect(warn.mock.calls.map(([, options]) => options)).toEqual(
      Array(times).fill({ code: 'ESV_MEMORY_LABELS' }),
    )
  })
})
