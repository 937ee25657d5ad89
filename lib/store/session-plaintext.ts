import type { SessionBody } from './session-codec.ts'
import { isHandle } from './session-id.ts'

/** What is sealed together with a session's data, and so cannot be changed without the key. */
export interface SessionMeta {
  readonly createdAtMs: number
  /** The hard end of the session's life. */
  readonly endsAtMs?: number | undefined
  /** Whose session it is. */
  readonly owner?: string | undefined
}

export interface SessionPlaintext {
  readonly meta: SessionMeta
  readonly body: SessionBody
}

const VERSION = 1
const TEXT = 0x74
const BYTES = 0x62
const HEAD_BYTES = 4

/** Room that the meta part may take beside `maxBytes` of data. */
export const MAX_META_BYTES = 8192

/** version ‖ kind of body ‖ length of the meta part ‖ meta part, JSON ‖ body. docs/FORMAT.md specifies it. */
export function encodePlaintext({ meta, body }: SessionPlaintext): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  const metaBytes = Buffer.from(JSON.stringify({ created: meta.createdAtMs, ends: meta.endsAtMs, owner: meta.owner }))
  head[0] = VERSION
  head[1] = body.isText ? TEXT : BYTES
  head.writeUInt16BE(metaBytes.length, 2)
  return Buffer.concat([head, metaBytes, body.bytes])
}

/** Strict: an unknown version, kind, field or type is `undefined`. */
export function decodePlaintext(plaintext: Buffer): SessionPlaintext | undefined {
  if (plaintext.length < HEAD_BYTES || plaintext[0] !== VERSION) return undefined
  const kind = plaintext[1]
  const bodyAt = HEAD_BYTES + plaintext.readUInt16BE(2)
  if ((kind !== TEXT && kind !== BYTES) || bodyAt > plaintext.length) return undefined
  const meta = decodeMeta(plaintext.toString('utf8', HEAD_BYTES, bodyAt))
  return meta && { meta, body: { bytes: plaintext.subarray(bodyAt), isText: kind === TEXT } }
}

function decodeMeta(text: string): SessionMeta | undefined {
  try {
    const { created, ends, owner, ...unknown } = JSON.parse(text) as Record<string, unknown>
    if (!isTime(created) || Object.keys(unknown).length > 0) return undefined
    if (!(ends === undefined || isTime(ends)) || !(owner === undefined || isHandle(owner))) return undefined
    return { createdAtMs: created, endsAtMs: ends, owner }
  } catch {
    return undefined
  }
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
