import { CommandRunner } from '../backend/valkey/commands/command-runner.ts'
import type { ValkeyClient } from '../backend/valkey/connection/client.ts'
import type { ValkeyConnection } from '../backend/valkey/connection/connection.ts'
import { createValkeyClient } from '../backend/valkey/connection/connection.ts'
import { countKeys } from '../backend/valkey/scan.ts'
import { ValkeyBackend } from '../backend/valkey/valkey-backend.ts'
import { Sealer } from '../seal/sealer.ts'
import type { UserId } from '../session/names.ts'
import { maxBlobBytes, SessionRecords } from '../session/records.ts'
import { ValkeyStore } from '../store/valkey-store.ts'
import { type Invocation, UsageError } from './command.ts'
import {
  connectionOf,
  isEncrypted,
  otherConnectionOf,
  prefixOf,
  requiredSecrets,
  secretsOf,
} from './settings.ts'

/** More patient than a web app: nobody waits for a response. */
const TIMING = { connectTimeoutMs: 2000, commandTimeoutMs: 5000, retries: 1 } as const
/** What a session may have at most for a store, so that no `maxBytes` of an app hides one. */
const MAX_BYTES = 16 * 1024 * 1024

/** All kinds of records that open. */
export const RECORD_KINDS = ['session', 'token'] as const

/** The servers and the keys that a command works with. */
export interface Site {
  readonly prefix: string
  readonly client: ValkeyClient
  readonly backend: ValkeyBackend
  /** For commands on keys other than the store's own. */
  readonly commands: CommandRunner
}

/** Connects, runs the work and disconnects. */
export async function withSite<Value>(
  invocation: Invocation,
  work: (site: Site) => Promise<Value>,
): Promise<Value> {
  return withConnection(invocation, connectionOf(invocation), work)
}

/** The same for the place of another program, which is that of the site unless the flags say otherwise. */
export async function withOtherSite<Value>(
  invocation: Invocation,
  site: Site,
  work: (site: Site) => Promise<Value>,
): Promise<Value> {
  const connection = otherConnectionOf(invocation)
  return connection === undefined ? work(site) : withConnection(invocation, connection, work)
}

async function withConnection<Value>(
  invocation: Invocation,
  connection: ValkeyConnection,
  work: (site: Site) => Promise<Value>,
): Promise<Value> {
  const prefix = prefixOf(invocation)
  const client = withUsage(() => createValkeyClient(connection, TIMING))
  // Failures reach the caller by the calls that fail.
  client.on('error', () => {})
  try {
    const acceptsPlaintext = connection.unsafeAllowPlaintext ?? false
    const options = { ...TIMING, client, prefix, breaker: false, acceptsPlaintext } as const
    const backend = withUsage(() => new ValkeyBackend({ ...options, maxBlobBytes: maxBlobBytes(MAX_BYTES) }))
    return await work({ prefix, client, backend, commands: new CommandRunner(options) })
  } finally {
    client.disconnect()
  }
}

/** Connects a store with default options, runs the work and closes it. */
export function withStore<Value>(
  invocation: Invocation,
  work: (store: ValkeyStore, site: Site) => Promise<Value>,
): Promise<Value> {
  return withSite(invocation, async (site) => {
    const store = storeOf(invocation, site)
    try {
      return await work(store, site)
    } finally {
      await store.close()
    }
  })
}

/** A store of the site's sessions, which the caller closes. */
export function storeOf(
  invocation: Invocation,
  { client, prefix }: Site,
  options: {
    readonly userId?: (session: object) => UserId | undefined
    readonly maxSessionsPerUser?: false
  } = {},
): ValkeyStore {
  const secrets = requiredSecrets(invocation)
  return withUsage(
    () =>
      new ValkeyStore({
        ...TIMING,
        ...options,
        client,
        secrets,
        prefix,
        encrypt: isEncrypted(invocation),
        breaker: false,
        maxBytes: MAX_BYTES,
        onUnsafeServer: 'ignore',
        unsafeClientSettings: ['tls'],
      }),
  )
}

/** What opens and seals the sessions; `undefined` without secrets. */
export function sealerOf(invocation: Invocation): Sealer | undefined {
  const secrets = secretsOf(invocation)
  return secrets && withUsage(() => new Sealer({ secrets, encrypt: isEncrypted(invocation) }))
}

/** The sessions of the site as sealed records, of whatever kind. */
export function recordsOf(sealer: Sealer, { backend, prefix }: Site, announce = () => {}): SessionRecords {
  const policy = { onInvalid: 'error', onUnknownKey: 'error', announce } as const
  return new SessionRecords({ backend, sealer, prefix, kinds: RECORD_KINDS, maxBytes: MAX_BYTES, ...policy })
}

/** About how many keys there are to scan; `undefined` where the server does not say. */
export function countAll({ commands }: Site): Promise<number | undefined> {
  return countKeys(commands).catch(() => undefined)
}

// Options of the store come from the command line here.
function withUsage<Value>(make: () => Value): Value {
  try {
    return make()
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message)
    throw error
  }
}
