import type { Finding } from '../backend/finding.ts'
import { DEFAULT_BREAKER } from '../backend/valkey/commands/breaker.ts'
import { CommandRunner } from '../backend/valkey/commands/command-runner.ts'
import type { ValkeyClient } from '../backend/valkey/connection/client.ts'
import type { ValkeyConnection } from '../backend/valkey/connection/connection.ts'
import {
  connectValkey,
  type ResolvedValkeyOptions,
  VALKEY_OPTIONS,
  type ValkeyOptions,
} from '../backend/valkey/connection/valkey-options.ts'
import { type UnsafeServerPolicy, ValkeyBackend } from '../backend/valkey/valkey-backend.ts'
import { ValkeyForeign } from '../backend/valkey/valkey-foreign.ts'
import { decide } from '../diagnostics.ts'
import { checkOneOf, type OptionTable, optionError, type Read, readGroup, readOptions } from '../option.ts'
import { Sealer } from '../seal/sealer.ts'
import type { Secrets } from '../seal/secret.ts'
import { maxBlobBytes } from '../session/records.ts'
import { LegacySessions } from './legacy-sessions.ts'
import { checkTogether, type ResolvedOptions, type SessionStoreOptions, STORE_OPTIONS } from './options.ts'
import { SealedSessionStore } from './session-store.ts'
import type { SessionStore } from './store.ts'

/** Options of {@link ValkeyStore}: those of every store, and how Valkey is reached. Either `client` or `connection` is required. */
export type ValkeyStoreOptions = SessionStoreOptions &
  ValkeyOptions & {
    readonly secrets: Secrets
    /**
     * Handles a server on which a promise does not hold, such as one that evicts: `'error'` rejects every call with
     * `StoreUnavailableError` until the server is reconfigured, and also if it denies `INFO`; `'warn'` emits a process warning;
     * `'ignore'` does not check. One `INFO` for each connection and each new primary of a cluster; emits the event
     * `unsafe-server`. `check()` checks more.
     * @defaultValue 'warn'
     */
    readonly onUnsafeServer?: 'error' | 'warn' | 'ignore' | undefined
    /**
     * Takes over sessions of connect-redis when their cookies come, so that a switch signs no user out. The old sessions are not
     * signed: before `until`, write access to the old keys is enough to forge a session of any user.
     * docs/guide/from-connect-redis.md has the steps.
     * @defaultValue none
     */
    readonly legacy?: LegacyOptions | undefined
  }

/** Where connect-redis has kept its sessions: on the store's own server, unless `client` or `connection` says otherwise. */
export type LegacyOptions = {
  /** What stored the old sessions. */
  readonly kind: 'connect-redis'
  /** The option `prefix` of connect-redis, as it was there: `sess:` by default. */
  readonly prefix: string
  /** When it ends by itself. */
  readonly until: Date
} & (
  | {
      /** A client of the app's own that reaches the old sessions. Give this or `connection`. @defaultValue none */
      readonly client?: ValkeyClient | undefined
      readonly connection?: undefined
    }
  | {
      /** How the server with the old sessions is reached. Give this or `client`. @defaultValue none */
      readonly connection?: ValkeyConnection | undefined
      readonly client?: undefined
    }
)

const LEGACY_OPTIONS = {
  kind: (value, name) => checkOneOf(name, value, ['connect-redis']),
  prefix: (value, name) => legacyPrefixOf(name, value),
  until: (value, name) => dateOf(name, value),
  client: (value) => value,
  connection: (value) => value,
} satisfies OptionTable<LegacyOptions>

/** The options that only this store has. */
export const VALKEY_ONLY_OPTIONS = {
  ...VALKEY_OPTIONS,
  onUnsafeServer: (value = 'warn', name) => checkOneOf(name, value, ['error', 'warn', 'ignore']),
  legacy: (value, name) => (value === undefined ? undefined : readGroup(name, value, LEGACY_OPTIONS)),
} satisfies OptionTable<Omit<ValkeyStoreOptions, keyof SessionStoreOptions>>

/**
 * Keeps sessions on Valkey 7.2 or later, or Redis 7.0 or later; one server, Sentinel or Cluster.
 *
 * @throws TypeError that names the option, if one is wrong.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import session from 'express-session'
 * import { ValkeyStore } from 'express-session-valkey'
 *
 * const store = new ValkeyStore({ connection: { url: 'valkey://127.0.0.1:6379' }, secrets: [process.env['SESSION_KEY'] ?? ''] })
 * const app = express()
 * app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
 * ```
 */
export interface ValkeyStore extends SessionStore {}

export const ValkeyStore: new (options: ValkeyStoreOptions) => ValkeyStore =
  class ValkeyStore extends SealedSessionStore {
    readonly #closeLegacy: (() => Promise<void>) | undefined

    constructor(options: ValkeyStoreOptions) {
      const read = readOptions(options, { ...STORE_OPTIONS, ...VALKEY_ONLY_OPTIONS }, 'the store')
      const resolved = checkTogether(read)
      const sealer = new Sealer({ secrets: options.secrets, encrypt: resolved.encrypt })
      const valkey = connectValkey(read)
      const { connectTimeoutMs, commandTimeoutMs, retries } = valkey
      const old = read.legacy && legacyOf(read.legacy, valkey, resolved)
      super({
        backend: new ValkeyBackend({
          ...valkey,
          prefix: resolved.prefix,
          maxBlobBytes: maxBlobBytes(resolved.maxBytes),
          unsafeServer: policyOf(read.onUnsafeServer, (findings) => this.emit('unsafe-server', { findings })),
        }),
        sealer,
        options: resolved,
        deadlineMs: connectTimeoutMs + 2 * commandTimeoutMs * (retries + 1),
        legacy: old?.sessions,
      })
      this.#closeLegacy = old?.close
    }

    override async close(): Promise<void> {
      await super.close()
      await this.#closeLegacy?.()
    }
  }

function legacyPrefixOf(name: string, prefix: unknown): string {
  if (typeof prefix === 'string' && prefix.length <= 256) return prefix
  throw optionError(name, 'the prefix of connect-redis, "sess:" unless it was set')
}

function dateOf(name: string, date: unknown): Date {
  if (date instanceof Date && !Number.isNaN(date.getTime())) return date
  throw optionError(name, 'a Date, from which on no session is taken over any more')
}

function legacyOf(
  { prefix, until, client, connection }: Read<typeof LEGACY_OPTIONS>,
  valkey: ResolvedValkeyOptions,
  { maxBytes, clock }: ResolvedOptions,
): { readonly sessions: LegacySessions; close(): Promise<void> } {
  const isElsewhere = client !== undefined || connection !== undefined
  const place = isElsewhere
    ? connectValkey({ ...valkey, breaker: DEFAULT_BREAKER, unsafeClientSettings: [], client, connection })
    : valkey
  const link = new CommandRunner(place)
  const values = new ValkeyForeign(link, prefix)
  const now = () => clock.now()
  return {
    sessions: new LegacySessions({ values, untilMs: until.getTime(), maxBytes, now }),
    async close() {
      await link.close()
      if (isElsewhere && place.ownsClient) place.client.disconnect()
    },
  }
}

type Report = UnsafeServerPolicy['report']

function policyOf(
  onUnsafeServer: 'error' | 'warn' | 'ignore',
  announce: Report,
): UnsafeServerPolicy | undefined {
  if (onUnsafeServer === 'ignore') return undefined
  const report: Report = (findings) => {
    // Outside our promises: what a listener throws must not fail a call in our name.
    process.nextTick(() => announce(findings))
    decide({ decision: 'unsafe-server' })
    if (onUnsafeServer === 'warn') warn(findings)
  }
  return { isRefused: onUnsafeServer === 'error', report }
}

function warn(findings: readonly Finding[]): void {
  const list = findings.map(({ message, action }) => `${message}. ${action}.`).join(' ')
  process.emitWarning(`The session store runs on a server that breaks its promises. ${list}`, {
    type: 'UnsafeServerWarning',
  })
}
