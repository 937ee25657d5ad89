import { HEADER_BYTES } from '../../backend/valkey/record-value.ts'
import { decodeEnvelope } from '../../seal/envelope.ts'
import type { Sealer } from '../../seal/sealer.ts'
import { decodePlaintext, type SessionPlaintext } from '../../session/metadata.ts'
import { type Command, EXIT, type ExitCode, type Invocation } from '../command.ts'
import { CONNECTION_FLAGS, isEncrypted, SECRET_FLAGS } from '../settings.ts'
import { RECORD_KINDS, type Site, sealerOf, storeOf, withSite } from '../site.ts'
import { handleIn } from './sessions.ts'

const MAX_BLOB_BYTES = 32 * 1024 * 1024

/** What is known of one handle, and the verdict: the first thing that is wrong with it. */
interface Report {
  readonly state: 'active' | 'ended' | 'absent' | 'unusable'
  readonly verdict: string
  readonly details: Readonly<Record<string, unknown>>
}

const flags = { ...CONNECTION_FLAGS, ...SECRET_FLAGS }

export const inspect: Command = {
  name: 'inspect',
  operand: '<handle>',
  summary: 'say what stands under a handle, and why it does not open',
  flags,
  run: (invocation) => withSite(invocation, (site) => show(invocation, site)),
}

export const showSession: Command = {
  ...inspect,
  name: 'sessions show',
  summary: 'show one session: its times, device, labels and the names of its keys',
}

async function show(invocation: Invocation, site: Site): Promise<ExitCode> {
  const handle = handleIn(invocation)
  const { state, verdict, details } = await reportOf(invocation, site, handle)
  const known = Object.entries(details).filter(([, value]) => value !== undefined)
  const rows = [['state', state], ['verdict', verdict], ...known.map(([name, value]) => [name, shown(value)])]
  invocation.output.table({ handle, state, verdict, ...details }, ['HANDLE', handle], rows)
  if (state === 'unusable') return EXIT.found
  return state === 'active' ? EXIT.ok : EXIT.missing
}

async function reportOf(invocation: Invocation, site: Site, handle: string): Promise<Report> {
  const found = await site.backend.get(handle, MAX_BLOB_BYTES)
  const sealer = sealerOf(invocation)
  if (found === undefined) return absence(invocation, site, handle)
  if (found === 'unreadable') return unusable('what stands there is no record of this package', {})
  const envelope = decodeEnvelope(found.blob)
  const size = { expiresAt: new Date(found.expiresAtMs), bytes: found.blob.length + HEADER_BYTES }
  if (envelope === undefined)
    return unusable('the blob is damaged: it has no whole envelope of version 1', size)
  const keyId = envelope.keyId.toString('hex')
  const facts = { ...size, mode: envelope.mode, keyId }
  if (sealer === undefined)
    return { state: 'active', verdict: 'not opened: no secrets were given', details: facts }
  const mode = isEncrypted(invocation) ? 'encrypted' : 'signed'
  if (envelope.mode !== mode)
    return unusable(`it is ${envelope.mode}, and a store with these options opens only ${mode} ones`, facts)
  if (!(await sealer.keyIds()).includes(keyId))
    return unusable('none of the secrets sealed it: its key id is unknown', facts)
  const plaintext = await opened(sealer, site, { handle, blob: found.blob })
  if (plaintext === undefined)
    return unusable(
      'its MAC is wrong: it was changed, or moved from another handle or prefix, or another secret has this key id',
      facts,
    )
  if (plaintext === 'unknown') return unusable('it was sealed by a version with another format', facts)
  return upheld(site, handle, { plaintext, facts })
}

async function opened(
  sealer: Sealer,
  { prefix }: Site,
  { handle, blob }: { readonly handle: string; readonly blob: Buffer },
): Promise<SessionPlaintext | 'unknown' | undefined> {
  for (const purpose of RECORD_KINDS) {
    const result = await sealer.open(blob, { purpose, prefix, name: handle })
    if (result.state === 'open') return decodePlaintext(result.plaintext) ?? 'unknown'
  }
  return undefined
}

async function upheld(
  { backend }: Site,
  handle: string,
  { plaintext, facts }: { readonly plaintext: SessionPlaintext; readonly facts: object },
): Promise<Report> {
  const { createdAtMs, endsAtMs, owner, epoch, device, labels } = plaintext.meta
  const details = {
    ...facts,
    createdAt: new Date(createdAtMs),
    endsAt: endsAtMs === undefined ? undefined : new Date(endsAtMs),
    owner,
    device,
    labels,
    keys: keysOf(plaintext),
  }
  if (endsAtMs !== undefined && (await backend.now()) >= endsAtMs)
    return unusable('its hard end has passed: the next read ends it', details)
  if (owner === undefined) return { state: 'active', verdict: 'it opens; it belongs to no user', details }
  const standing = await backend.registry.standing(owner, handle)
  if (!standing.isMember)
    return unusable("it has no place in its user's registry: the next due touch ends it", details)
  if ((epoch ?? 0) < standing.epoch)
    return unusable("all of its user's sessions were ended since: the next due touch ends it", details)
  return { state: 'active', verdict: 'it opens, and has its place in the registry', details }
}

// Names alone: values are the users' own.
function keysOf({ body }: SessionPlaintext): readonly string[] | undefined {
  try {
    return body.isText ? Object.keys(JSON.parse(body.bytes.toString()) as object) : undefined
  } catch {
    return undefined
  }
}

async function absence(invocation: Invocation, site: Site, handle: string): Promise<Report> {
  const kept = await site.backend.ending(handle)
  if (kept === undefined)
    return { state: 'absent', verdict: 'nothing stands there: it expired, or never was', details: {} }
  if (sealerOf(invocation) === undefined) return { state: 'ended', verdict: 'it was ended', details: {} }
  const store = storeOf(invocation, site)
  const ending = await store.registry.ending({ handle }).finally(() => store.close())
  if (ending === undefined)
    return { state: 'ended', verdict: 'it was ended; how cannot be opened with these secrets', details: {} }
  const { at, reason, actor } = ending
  return { state: 'ended', verdict: `it was ended: ${reason}`, details: { at, reason, actor } }
}

function unusable(verdict: string, details: Report['details']): Report {
  return { state: 'unusable', verdict, details }
}

function shown(value: unknown): string {
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.join(', ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
