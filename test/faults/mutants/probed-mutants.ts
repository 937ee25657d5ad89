import type { Request } from 'express'
import { internalsOf } from '../../store/parts-store.ts'
import { commandCounts } from '../../support/command-counts.ts'
import { until } from '../../support/until.ts'
import type { Mutant } from './mutant.ts'
import { codeOf, type ProbeGround, ready, signIn } from './probe-site.ts'

/** A mutant that one probe of a store finds. */
export interface ProbedMutant extends Mutant {
  /** Whether the promise is kept. */
  holds(ground: ProbeGround): Promise<boolean>
}

const PUT = 'backend/valkey/scripts/put-record.ts'
const SETTINGS = 'backend/valkey/connection/client-settings.ts'
const DEEP = 200
const HOUR_MS = 3_600_000
const LONG_MS = HOUR_MS / 2

/** Mutants of what a record says, and to whom. */
const recordProbes: readonly ProbedMutant[] = [
  {
    name: 'an update creates what is gone',
    patches: [
      {
        file: PUT,
        from: `if ARGV[1] == 'version' and head == '' then return { 'gone', 0, now } end`,
        to: '',
      },
      {
        file: PUT,
        from: `ARGV[1] == 'version' and etag ~= ARGV[2]`,
        to: `ARGV[1] == 'version' and head ~= '' and etag ~= ARGV[2]`,
      },
    ],
    async holds(ground) {
      const store = await ground.store()
      const live = await signIn(store, 'gone')
      await ground.site.admin.del(ground.recordKey(store, 'gone'))
      const code = await codeOf(store.set('gone', Object.assign(live, { changed: true })))
      return code === 'ERR_SESSION_ENDED' && (await store.get('gone')) === null
    },
  },
  {
    name: 'a record opens under another session’s name',
    patches: [
      {
        file: 'session/records.ts',
        from: `return { purpose: kind, prefix: this.#parts.prefix, name: handle }`,
        to: `return { purpose: 'session', prefix: this.#parts.prefix, name: String(handle.length) }`,
      },
    ],
    async holds(ground) {
      const store = await ground.store()
      await signIn(store, 'mine', { index: 1 })
      await signIn(store, 'another', { index: 2 })
      const [from, to] = [ground.recordKey(store, 'another'), ground.recordKey(store, 'mine')]
      await ground.site.admin.call('COPY', from, to, 'REPLACE')
      return (await store.get('mine')) === null
    },
  },
  {
    name: 'either mode is accepted',
    patches: [
      {
        file: 'seal/sealer.ts',
        from: 'if (envelope?.mode !== this.#mode) return INVALID',
        to: 'if (envelope === undefined) return INVALID',
      },
    ],
    async holds(ground) {
      const signing = await ground.store({ encrypt: false })
      await signIn(signing, 'signed', { index: 1 })
      return (await (await ground.store({ encrypt: true })).get('signed')) === null
    },
  },
  {
    name: 'a key that is not named is tried',
    patches: [
      {
        file: 'seal/sealer.ts',
        from: 'const key = keys.find(envelope.keyId)',
        to: 'const key = keys.find(envelope.keyId) ?? keys.first',
      },
    ],
    async holds(ground) {
      const other = await ground.store({ secrets: ['another secret of the tests, used nowhere else'] })
      await signIn(other, 'foreign', { index: 1 })
      const store = await ground.store({ onUnknownKey: 'error' })
      return (await codeOf(store.get('foreign'))) === 'ERR_SESSION_UNKNOWN_KEY'
    },
  },
  {
    name: 'content reaches prototypes',
    patches: [
      {
        file: 'session/sanitize.ts',
        from: `if (Object.hasOwn(value, '__proto__')) yield '__proto__'`,
        to: '',
      },
    ],
    async holds(ground) {
      const part = JSON.parse('{ "__proto__": { "isAdmin": true } }')
      return (
        (await codeOf(signIn(await ground.store(), 'hostile', { part }))) === 'ERR_SESSION_NOT_SERIALIZABLE'
      )
    },
  },
  {
    name: 'content may be nested without end',
    patches: [{ file: 'session/sanitize.ts', from: 'MAX_DEPTH = 64', to: 'MAX_DEPTH = Number.MAX_VALUE' }],
    async holds(ground) {
      const deep = JSON.parse(`${'['.repeat(DEEP)}${']'.repeat(DEEP)}`)
      return (await codeOf(signIn(await ground.store(), 'deep', { deep }))) === 'ERR_SESSION_NOT_SERIALIZABLE'
    },
  },
  {
    name: 'a new session id loses what its session is sealed with',
    patches: [
      {
        file: 'store/tracked-requests.ts',
        from: 'new TrackedSession(handle, { ...origin, labels })',
        to: 'new TrackedSession(handle, origin)',
      },
    ],
    async holds(ground) {
      const store = await ground.store()
      const live = await signIn(store, 'old')
      internalsOf(store).sealLabels(live, ['pii'])
      const next = { sessionID: 'old', session: live as object, sessionStore: store }
      store.generate = () => {
        Object.assign(next, { sessionID: 'new', session: { req: next, id: 'new' } })
      }
      await new Promise<void>((resolve, reject) => {
        store.regenerate(next as unknown as Request, (error) => (error ? reject(error) : resolve()))
      })
      return internalsOf(store).sealedLabels(next.session).includes('pii')
    },
  },
]

/** Mutants of how long a registry lasts, and of what it decides. */
const registryProbes: readonly ProbedMutant[] = [
  {
    name: 'a registry lasts as long as at the sign-in, however its sessions are extended',
    patches: [{ file: 'backend/valkey/scripts/extend.ts', from: 'keepUntil(expires)', to: '' }],
    async holds(ground) {
      const store = await ground.store()
      const live = await signIn(store, 'extended', { userId: 'alice', maxAge: 10_000 })
      live.cookie.maxAge = HOUR_MS
      await store.touch('extended', live)
      return registryLasts(ground)
    },
  },
  {
    name: 'a short session cuts its user’s registry short',
    patches: [
      {
        file: 'backend/valkey/scripts/registry-script.ts',
        from: `for _, key in ipairs(KEYS) do ms = math.max(ms, redis.call('PEXPIRETIME', key)) end`,
        to: '',
      },
    ],
    async holds(ground) {
      const store = await ground.store()
      await signIn(store, 'long', { userId: 'alice', maxAge: HOUR_MS })
      await signIn(store, 'short', { userId: 'alice', maxAge: 10_000 })
      return registryLasts(ground)
    },
  },
  {
    name: 'a session of an epoch that has passed is as good as any',
    patches: [
      {
        file: 'registry/membership.ts',
        from: 'return isMember && (meta.epoch ?? 0) >= epoch',
        to: 'return isMember || epoch < 0',
      },
    ],
    // A server that lost the ending of a session, but not that all were ended.
    async holds(ground) {
      const { admin } = ground.site
      const store = await ground.store({ verifyOwner: 'always' })
      await signIn(store, 'old', { userId: 'alice' })
      const record = ground.recordKey(store, 'old')
      const kept = [record, ...(await zsets(ground))]
      const dumps = await Promise.all(kept.map((key) => admin.dumpBuffer(key)))
      await store.registry.endAll('alice')
      await admin.del(`${ground.prefix}:e:{${store.handle('old')}}`)
      await Promise.all(kept.map((key, index) => admin.restore(key, 0, dumps[index] ?? '', 'REPLACE')))
      return (await store.get('old')) === null
    },
  },
]

/** Mutants of the connection. */
const connectionProbes: readonly ProbedMutant[] = [
  {
    name: 'the client sends again by itself what got no reply',
    patches: [{ file: SETTINGS, from: 'maxRetriesPerRequest: 0', to: 'maxRetriesPerRequest: null' }],
    async holds(ground) {
      const { admin, proxy } = ground.site
      const store = await ground.store({ retries: 0 })
      const live = await signIn(store, 'once')
      const scripts = async () => (await commandCounts(admin)).get('evalsha') ?? 0
      const before = await scripts()
      await proxy.set({ kind: 'drop-reply', when: (request) => request.includes('evalsha') })
      await codeOf(store.set('once', Object.assign(live, { changed: true })))
      await ready(store)
      return (await scripts()) - before === 1
    },
  },
  {
    name: 'what cannot be sent waits in the client, to be sent when nobody wants it any more',
    patches: [
      { file: SETTINGS, from: 'enableOfflineQueue: false, retryStrategy', to: 'retryStrategy' },
      { file: SETTINGS, from: 'maxRetriesPerRequest: 0', to: 'maxRetriesPerRequest: null' },
      {
        file: 'backend/valkey/commands/command-runner.ts',
        from: 'const isConnected = this.#connection.isReady && ',
        to: 'const isConnected = ',
      },
      {
        file: 'backend/valkey/commands/command-runner.ts',
        from: 'if (!this.#connection.isReady) {',
        to: 'if (false) {',
      },
    ],
    async holds(ground) {
      const { proxy } = ground.site
      const store = await ground.store()
      const live = await signIn(store, 'late')
      await proxy.set({ kind: 'refuse' })
      await until(async () => !(await store.health()).isReady, { what: 'the client knows' })
      const code = await codeOf(store.set('late', Object.assign(live, { changed: true })))
      await proxy.set({ kind: 'pass' })
      await ready(store)
      return code === 'ERR_STORE_UNAVAILABLE' && !Object.hasOwn((await store.get('late')) ?? {}, 'changed')
    },
  },
  {
    name: 'a connection that is dead without a word is never left',
    patches: [{ file: SETTINGS, from: 'socketTimeout: 2 * commandTimeoutMs,', to: '' }],
    async holds(ground) {
      const { proxy } = ground.site
      const store = await ground.store({ breaker: false })
      await proxy.set({ kind: 'blackhole' })
      const { connections } = proxy.counts
      const leaves = async () => {
        await codeOf(store.get('any'))
        return proxy.counts.connections > connections
      }
      return until(leaves, { withinMs: 2500, what: 'a dead connection is left' }).catch(() => false)
    },
  },
  {
    name: 'a certificate need not be true',
    patches: [
      {
        file: 'backend/valkey/connection/transport.ts',
        from: 'options.rejectUnauthorized === false',
        to: 'false',
      },
    ],
    async holds(ground) {
      const url = 'valkeys://127.0.0.1:1'
      try {
        ground.unconnected({ connection: { url, tls: { rejectUnauthorized: false } } })
        return false
      } catch (error) {
        return error instanceof TypeError
      }
    },
  },
]

/** Whether all of a registry lasts as long as its longest session. */
async function registryLasts(ground: ProbeGround): Promise<boolean> {
  const keys = await ground.registryKeys()
  const lefts = await Promise.all(keys.map((key) => ground.site.admin.pttl(key)))
  return lefts.length > 0 && lefts.every((leftMs) => leftMs > LONG_MS)
}

async function zsets(ground: ProbeGround): Promise<string[]> {
  const keys = await ground.registryKeys()
  const types = await Promise.all(keys.map((key) => ground.site.admin.type(key)))
  return keys.filter((_key, index) => types[index] === 'zset')
}

export const probedMutants: readonly ProbedMutant[] = [
  ...recordProbes,
  ...registryProbes,
  ...connectionProbes,
]
