import { randomFillSync } from 'node:crypto'
import { SessionTooLargeError } from '../errors.ts'
import type { SessionBody } from './codec.ts'
import { isDevice, type SessionDevice } from './device.ts'
import { isHandle } from './names.ts'

/** The fields that are sealed together with a session's data, and so cannot be changed without the key. */
export interface SessionMeta {
  readonly createdAtMs: number
  /** The hard end of the session's life. */
  readonly endsAtMs?: number | undefined
  /** Whose session it is. */
  readonly owner?: string | undefined
  /** The owner's epoch when it was registered; a higher one has ended it. */
  readonly epoch?: number | undefined
  /** The device it was opened on, as far as the app noted it. */
  readonly device?: SessionDevice | undefined
  /** The labels it has been exposed to; the set in the label store is the authority. */
  readonly labels?: readonly string[] | undefined
}

export interface SessionPlaintext {
  readonly meta: SessionMeta
  readonly body: SessionBody
}

const VERSION = 1
const TEXT = 0x74
const BYTES = 0x62
const REVISION_BYTES = 8
const HEAD_BYTES = 4 + REVISION_BYTES

/** Room that the meta part may take beside `maxBytes` of data. */
export const MAX_META_BYTES = 16_384

/**
 * version ‖ kind of body ‖ length of the meta part ‖ revision ‖ meta part, JSON ‖ body. docs/FORMAT.md specifies it.
 * The revision is random: a signed blob is a function of its plaintext, and two writes of the same must not share an etag.
 */
export function encodePlaintext({ meta, body }: SessionPlaintext): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  const metaBytes = Buffer.from(encodeMeta(meta))
  if (metaBytes.length > MAX_META_BYTES) throw new SessionTooLargeError(metaBytes.length, MAX_META_BYTES)
  head[0] = VERSION
  head[1] = body.isText ? TEXT : BYTES
  head.writeUInt16BE(metaBytes.length, 2)
  writeRevision(head, 4)
  return Buffer.concat([head, metaBytes, body.bytes])
}

// Drawn for many at once, which costs little more than drawing one.
const revisions = Buffer.alloc(128 * REVISION_BYTES)
let revisionAt = revisions.length

function writeRevision(head: Buffer, at: number): void {
  if (revisionAt === revisions.length) {
    randomFillSync(revisions)
    revisionAt = 0
  }
  revisions.copy(head, at, revisionAt, revisionAt + REVISION_BYTES)
  revisionAt += REVISION_BYTES
}

/** Strict: an unknown version, kind, field or type is `undefined`. */
export function decodePlaintext(plaintext: Buffer): SessionPlaintext | undefined {
  if (plaintext.length < HEAD_BYTES || plaintext[0] !== VERSION) return undefined
  const kind = plaintext[1]
  const bodyAt = HEAD_BYTES + plaintext.readUInt16BE(2)
  if ((kind !== TEXT && kind !== BYTES) || bodyAt > plaintext.length) return undefined
  const meta = decodeMeta(plaintext.toString('utf8', HEAD_BYTES, bodyAt))
  return (
    meta && { meta, body: { bytes: plaintext.subarray(bodyAt), isText: kind === TEXT, reading: undefined } }
  )
}

function encodeMeta({ createdAtMs, endsAtMs, owner, epoch, device, labels }: SessionMeta): string {
  return JSON.stringify({ created: createdAtMs, ends: endsAtMs, owner, epoch, device, labels })
}

const FIELDS: ReadonlySet<string> = new Set(['created', 'ends', 'owner', 'epoch', 'device', 'labels'])

function decodeMeta(text: string): SessionMeta | undefined {
  try {
    const fields = JSON.parse(text) as Record<string, unknown>
    const { created, ends, owner, epoch, device, labels } = fields
    for (const name of Object.keys(fields)) if (!FIELDS.has(name)) return undefined
    if (!isWhole(created)) return undefined
    if (!isAbsentOr(isWhole, ends) || !isAbsentOr(isWhole, epoch)) return undefined
    if (!isAbsentOr(isHandle, owner) || !isAbsentOr(isDevice, device) || !isAbsentOr(isWords, labels))
      return undefined
    return { createdAtMs: created, endsAtMs: ends, owner, epoch, device, labels }
  } catch {
    return undefined
  }
}

/** The metadata that a device list shows, also of an ended session. */
export type ShownMeta = Pick<SessionMeta, 'createdAtMs' | 'device'>

/** Returns the JSON form of {@link ShownMeta}. */
export function encodeShown({ createdAtMs, device }: ShownMeta) {
  return { created: createdAtMs, device }
}

/** Strict: returns `undefined` for anything but what {@link encodeShown} returns. */
export function decodeShown(fields: Readonly<Record<string, unknown>>): ShownMeta | undefined {
  const { created, device, ...unknown } = fields
  if (!isWhole(created) || !isAbsentOr(isDevice, device) || Object.keys(unknown).length > 0) return undefined
  return { createdAtMs: created, device }
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function isAbsentOr<Value>(
  accepts: (value: unknown) => value is Value,
  value: unknown,
): value is Value | undefined {
  return value === undefined || accepts(value)
}

function isWords(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((word) => typeof word === 'string')
}
