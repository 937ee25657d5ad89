import type { Finding } from '../backend/finding.ts'
import { CommandRunner } from '../backend/valkey/commands/command-runner.ts'
import type { ValkeyClient } from '../backend/valkey/connection/client.ts'
import type { ValkeyConnection } from '../backend/valkey/connection/connection.ts'
import {
  type ResolvedValkeyOptions,
  resolveValkeyOptions,
  VALKEY_OPTIONS,
  type ValkeyOptions,
} from '../backend/valkey/connection/valkey-options.ts'
import { type UnsafeServerPolicy, ValkeyBackend } from '../backend/valkey/valkey-backend.ts'
import { ValkeyForeign } from '../backend/valkey/valkey-foreign.ts'
import { decide } from '../diagnostics.ts'
import { checkKnown, checkObject, checkOneOf, optionError } from '../option.ts'
import { Sealer } from '../seal/sealer.ts'
import type { Secrets } from '../seal/secret.ts'
import { maxBlobBytes } from '../session/records.ts'
import { LegacySessions } from './legacy-sessions.ts'
import { type ResolvedOptions, resolveOptions, type SessionStoreOptions, STORE_OPTIONS } from './options.ts'
import { SealedSessionStore } from './session-store.ts'
import type { SessionStore } from './store.ts'

/** Options of {@link ValkeyStore}: those of every store, and how Valkey is reached. Either `client` or `connection` is required. */
export type ValkeyStoreOptions = SessionStoreOptions &
  ValkeyOptions & {
    readonly secrets: Secrets
    /**
     * What to do about a server under which a promise does not hold, as one that evicts: refuse every call with
     * `StoreUnavailableError` until it is mended, print a process warning, or not look. Looked at by one `INFO` for each
     * connection and for each new primary of a cluster; the event `unsafe-server` tells of it. `check()` looks further.
     * With `'error'` a server that denies `INFO` is refused, too.
     * @defaultValue 'warn'
     */
    readonly onUnsafeServer?: 'error' | 'warn' | 'ignore' | undefined
    /**
     * Sessions of connect-redis, each taken over when its cookie comes, so that a switch signs nobody out. They are not signed:
     * until `until`, whoever can write to the old keys can make sessions of any user. docs/guide/from-connect-redis.md has the steps.
     * @defaultValue none
     */
    readonly legacy?: LegacyOptions | undefined
  }

/** Where connect-redis has kept its sessions. */
export interface LegacyOptions {
  /** A client of the app's own that reaches the old sessions. Give this or `connection`. @defaultValue none */
  readonly client?: ValkeyClient | undefined
  /** How the server with the old sessions is reached. Give this or `client`. @defaultValue none */
  readonly connection?: ValkeyConnection | undefined
  /** What stored the old sessions. */
  readonly kind: 'connect-redis'
  /** The option `prefix` of connect-redis, as it was there: `sess:` by default. */
  readonly prefix: string
  /** When it ends by itself. */
  readonly until: Date
}

/** The names of the options that only this store knows. */
export const VALKEY_ONLY_OPTIONS: readonly string[] = [
  ...Object.keys(VALKEY_OPTIONS),
  'onUnsafeServer',
  'legacy',
]

const ON_UNSAFE_SERVER = ['error', 'warn', 'ignore'] as const

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
      const resolved = resolveOptions(options, [...Object.keys(STORE_OPTIONS), ...VALKEY_ONLY_OPTIONS])
      const { onUnsafeServer = 'warn' } = options
      checkOneOf('onUnsafeServer', onUnsafeServer, ON_UNSAFE_SERVER)
      if (options.legacy !== undefined) checkLegacy(options.legacy)
      const sealer = new Sealer({ secrets: options.secrets, encrypt: resolved.encrypt })
      const valkey = resolveValkeyOptions(options)
      const { connectTimeoutMs, commandTimeoutMs, retries } = valkey
      const old = options.legacy && legacyOf(options.legacy, valkey, resolved)
      super({
        backend: new ValkeyBackend({
          ...valkey,
          prefix: resolved.prefix,
          maxBlobBytes: maxBlobBytes(resolved.maxBytes),
          unsafeServer: policyOf(onUnsafeServer, (findings) => this.emit('unsafe-server', { findings })),
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

function checkLegacy(legacy: LegacyOptions): void {
  checkObject('legacy', legacy)
  checkKnown(legacy, ['kind', 'prefix', 'until', 'client', 'connection'], '"legacy"')
  const { kind, prefix, until } = legacy
  checkOneOf('legacy.kind', kind, ['connect-redis'])
  if (typeof prefix !== 'string' || prefix.length > 256)
    throw optionError('legacy.prefix', 'the prefix of connect-redis, "sess:" unless it was set')
  if (!(until instanceof Date) || Number.isNaN(until.getTime()))
    throw optionError('legacy.until', 'a Date, from which on no session is taken over any more')
}

function legacyOf(
  legacy: LegacyOptions,
  valkey: ResolvedValkeyOptions,
  { maxBytes, clock }: ResolvedOptions,
): { readonly sessions: LegacySessions; close(): Promise<void> } {
  const { prefix, until, client, connection } = legacy
  const { connectTimeoutMs, commandTimeoutMs, retries } = valkey
  const timing = { connectTimeoutMs, commandTimeoutMs, retries }
  const isElsewhere = client !== undefined || connection !== undefined
  const place = isElsewhere
    ? resolveValkeyOptions({ ...timing, client, connection } as ValkeyOptions)
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
