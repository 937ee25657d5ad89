import { ValkeyForeign } from '../../backend/valkey/valkey-foreign.ts'
import { SessionInvalidError, SessionStoreError, SessionUnknownKeyError } from '../../errors.ts'
import { type LegacyFlaw, readLegacy, writeLegacy } from '../../session/connect-redis.ts'
import { handleOf, type UserId, userIdFrom } from '../../session/names.ts'
import { userIdBy } from '../../session/reading.ts'
import type { SessionRecords } from '../../session/records.ts'
import type { AdoptOutcome } from '../../store/store.ts'
import type { ValkeyStore } from '../../store/valkey-store.ts'
import { type Command, EXIT, type ExitCode, type Flags, type Invocation, UsageError } from '../command.ts'
import { CONNECTION_FLAGS, requiredSecrets, SECRET_FLAGS } from '../settings.ts'
import { countAll, recordsOf, type Site, sealerOf, storeOf, withOtherSite, withSite } from '../site.ts'
import { Tally } from '../tally.ts'
import { walk } from '../walk.ts'

const DEFAULT_RATE = 1000
const DEFAULT_MAX_BYTES = 65_536

const STORE_FLAGS: Flags = { ...CONNECTION_FLAGS, ...SECRET_FLAGS }
const RATE: Flags = { rate: { value: 'N', help: `visit at most N keys a second [${DEFAULT_RATE}]` } }

type Imported = 'ready' | AdoptOutcome | LegacyFlaw | 'gone' | 'no-ttl' | 'no-session-id' | 'no-user-id'

const SKIPPED = [
  'other-type',
  'too-large',
  'broken',
  'no-session',
  'no-ttl',
  'no-session-id',
  'no-user-id',
] as const satisfies readonly Imported[]

export const importConnectRedis: Command = {
  name: 'import connect-redis',
  summary: 'take over the sessions of connect-redis; without --apply only count them',
  flags: {
    ...STORE_FLAGS,
    ...RATE,
    'from-url': { value: 'URL', help: 'where connect-redis keeps them, if elsewhere [LEGACY_URL]' },
    'from-nodes': { value: 'HOST:PORT,…', help: 'the same, of a cluster' },
    'from-prefix': { value: 'PREFIX', help: 'the option "prefix" of connect-redis [sess:]' },
    apply: { help: 'do it' },
    delete: { help: 'also remove from the old place what is in the new one; with --apply' },
    ttl: {
      value: 'SECONDS',
      help: 'what sessions get that say nothing of their lifetime; else they are skipped',
    },
    'user-key': { value: 'KEY.KEY', help: 'where a session has its user id [userId, or passport.user]' },
    'max-bytes': { value: 'N', help: `the largest session, as "maxBytes" [${DEFAULT_MAX_BYTES}]` },
  },
  run: (invocation) =>
    withSite(invocation, (site) =>
      withOtherSite(invocation, site, (source) => importAll(invocation, site, source)),
    ),
}

async function importAll(invocation: Invocation, site: Site, source: Site): Promise<ExitCode> {
  const { output, signal } = invocation
  const [isApplied, isDeleted] = [invocation.has('apply'), invocation.has('delete')]
  if (isDeleted && !isApplied) throw new UsageError('--delete needs --apply')
  const values = new ValkeyForeign(source.commands, invocation.text('from-prefix') ?? 'sess:')
  const userKey = invocation.text('user-key')
  // An app's cap is for sign-ins: here it would end the sessions that come first.
  const options = { maxSessionsPerUser: false as const, ...(userKey && { userId: userIdAt(userKey) }) }
  const store = storeOf(invocation, site, options)
  const parts = {
    values,
    store,
    site,
    isApplied,
    isDeleted,
    maxBytes: invocation.number('max-bytes') ?? DEFAULT_MAX_BYTES,
    ttl: invocation.number('ttl'),
    userIdOf: userKey ? userIdAt(userKey) : usualUserId,
  }
  const tally = new Tally<Imported>()
  try {
    const isWhole = await walk({
      pages: values.names(),
      visit: async (sid) => tally.count(await importOne(sid, parts)),
      progress: output.progress('keys', await countAll(source)),
      signal,
      rate: invocation.number('rate') ?? DEFAULT_RATE,
    })
    output.print({ ...tally.counts, isApplied, isWhole }, tally.text())
    if (!isApplied) output.note('Nothing was written. Run it with --apply.')
    if (!isWhole) output.note('Interrupted. Run it again: what is there already is passed over.')
    if (!isWhole) return EXIT.interrupted
    return tally.of(...SKIPPED) > 0 ? EXIT.found : EXIT.ok
  } finally {
    await store.close()
  }
}

interface ImportParts {
  readonly values: ValkeyForeign
  readonly store: ValkeyStore
  readonly site: Site
  readonly isApplied: boolean
  readonly isDeleted: boolean
  readonly maxBytes: number
  readonly ttl: number | undefined
  readonly userIdOf: (session: object) => unknown
}

async function importOne(sid: string, parts: ImportParts): Promise<Imported> {
  const { values, store, site, isApplied, isDeleted, maxBytes } = parts
  const handle = handleOf(sid)
  if (handle === undefined) return 'no-session-id'
  const nowMs = await site.backend.now()
  const found = await readLegacy(await values.read(sid, maxBytes), { maxBytes, nowMs })
  if (found === undefined) return 'gone'
  if (typeof found === 'string') return found
  const ttl = found.ttlMs === undefined ? parts.ttl : found.ttlMs / 1000
  if (ttl === undefined) return 'no-ttl'
  try {
    userIdBy(parts.userIdOf, found.session)
    if (!isApplied) return (await standing(handle, site)) ?? 'ready'
    const outcome = await store.adopt(sid, found.session, { ttl })
    if (isDeleted) await values.remove(sid)
    return outcome
  } catch (error) {
    if (!(error instanceof SessionStoreError)) throw error
    if (error.code === 'ERR_SESSION_USER_ID') return 'no-user-id'
    if (error.code === 'ERR_SESSION_TOO_LARGE') return 'too-large'
    throw error
  }
}

async function standing(handle: string, { backend }: Site): Promise<'exists' | 'ended' | undefined> {
  if ((await backend.get(handle, 0)) !== undefined) return 'exists'
  return (await backend.ending(handle)) === undefined ? undefined : 'ended'
}

// The default of the option "userId".
function usualUserId(session: object): unknown {
  const { userId, passport } = session as { userId?: unknown; passport?: { user?: unknown } | null }
  return userId ?? passport?.user
}

function userIdAt(path: string): (session: object) => UserId | undefined {
  const keys = path.split('.')
  return (session) =>
    userIdFrom(keys.reduce<unknown>((value, key) => (Object(value) as Record<string, unknown>)[key], session))
}

type Exported = 'ready' | 'exported' | 'gone' | 'not-json' | 'token' | 'unknown-key' | 'invalid'

export const exportConnectRedis: Command = {
  name: 'export connect-redis',
  summary: 'write the sessions as connect-redis keeps them, by handle; without --apply only count them',
  flags: {
    ...STORE_FLAGS,
    ...RATE,
    'to-url': { value: 'URL', help: 'where connect-redis is to find them, if elsewhere [LEGACY_URL]' },
    'to-nodes': { value: 'HOST:PORT,…', help: 'the same, of a cluster' },
    'to-prefix': { value: 'PREFIX', help: 'the option "prefix" that connect-redis will have; required' },
    apply: { help: 'do it' },
  },
  run: (invocation) =>
    withSite(invocation, (site) =>
      withOtherSite(invocation, site, (target) => exportAll(invocation, site, target)),
    ),
}

async function exportAll(invocation: Invocation, site: Site, target: Site): Promise<ExitCode> {
  const { output, signal } = invocation
  requiredSecrets(invocation)
  const sealer = sealerOf(invocation)
  const values = new ValkeyForeign(target.commands, invocation.required('to-prefix'))
  const records = sealer && recordsOf(sealer, site)
  const isApplied = invocation.has('apply')
  const tally = new Tally<Exported>()
  const isWhole = await walk({
    pages: site.backend.handles(),
    visit: async (handle) => tally.count(await exportOne(handle, { values, records, site, isApplied })),
    progress: output.progress('keys', await countAll(site)),
    signal,
    rate: invocation.number('rate') ?? DEFAULT_RATE,
  })
  output.print({ ...tally.counts, isApplied, isWhole }, tally.text())
  if (!isApplied) output.note('Nothing was written. Run it with --apply.')
  if (!isWhole) output.note('Interrupted. Run it again: it writes every session once more.')
  if (!isWhole) return EXIT.interrupted
  return tally.of('not-json', 'unknown-key', 'invalid') > 0 ? EXIT.found : EXIT.ok
}

interface ExportParts {
  readonly values: ValkeyForeign
  readonly records: SessionRecords | undefined
  readonly site: Site
  readonly isApplied: boolean
}

async function exportOne(
  handle: string,
  { values, records, site, isApplied }: ExportParts,
): Promise<Exported> {
  try {
    const record = await records?.read(handle)
    if (record === undefined) return 'gone'
    if (record.kind === 'token') return 'token'
    const { owner, epoch = 0 } = record.meta
    // What has lost its place is ended by its next touch; there nobody would.
    const place = owner === undefined ? undefined : await site.backend.registry.standing(owner, handle)
    if (place && (!place.isMember || epoch < place.epoch)) return 'gone'
    const leftMs = record.expiresAtMs - (await site.backend.now())
    const bytes = writeLegacy(record.body, record.expiresAtMs)
    if (bytes === undefined) return 'not-json'
    if (leftMs <= 0) return 'gone'
    if (!isApplied) return 'ready'
    await values.write(handle, bytes, leftMs)
    return 'exported'
  } catch (error) {
    if (error instanceof SessionUnknownKeyError) return 'unknown-key'
    if (error instanceof SessionInvalidError) return 'invalid'
    throw error
  }
}
