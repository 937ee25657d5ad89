import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

const LABEL = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$/

/** The most distinct labels that one session or user can gather in its life, declassified ones included. */
export const MAX_LABELS = 64

/** Returns whether it is a label: 1 to 64 characters of `A-Z a-z 0-9 . _ : / -`, a letter or digit first. Case counts. */
export function isLabel(value: unknown): value is string {
  return typeof value === 'string' && LABEL.test(value)
}

/** Returns each label once. Throws a `TypeError` if something is not a label, without quoting it: it may be data in the wrong place. */
export function distinctLabels(labels: readonly unknown[]): readonly string[] {
  if (!Array.isArray(labels)) throw new TypeError('Labels must be given as a list of strings')
  if (!labels.every(isLabel)) {
    throw new TypeError(
      'A label must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -, a letter or digit first',
    )
  }
  return [...new Set(labels)]
}

/** The owner of labels: a session, by its id, or a subject (a user), by the app's own id. */
export type LabelHolder = { readonly sid: string } | { readonly subject: string }

/** Where the labels of a holder are stored. */
export interface LabelPlace {
  readonly key: string
  readonly kind: 'session' | 'subject'
  /** SHA-256 in hex, which names the holder in keys, alarms and audits. */
  readonly digest: string
  /** Never leaves the process. */
  readonly id: string
}

const MAX_ID_LENGTH = 1024
// No control characters: no session id can begin like the text that a subject is hashed as.
const ID = /^[^\p{Cc}\p{Cs}]+$/u

/** Returns the place of a holder; a string is a session id. Throws a `TypeError` that does not quote the id. */
export function placeOf(prefix: string, holder: string | LabelHolder): LabelPlace {
  if (typeof holder === 'object' && holder !== null && 'subject' in holder) {
    const id = checkedId(holder.subject, 'subject')
    const digest = sha256(`subject\0${id}`)
    return { key: `${prefix}:u:${digest}`, kind: 'subject', digest, id }
  }
  const id = checkedId(typeof holder === 'string' ? holder : holder?.sid, 'session id')
  const digest = sha256(id)
  return { key: `${prefix}:${digest}`, kind: 'session', digest, id }
}

function checkedId(id: unknown, what: string): string {
  if (typeof id === 'string' && id.length <= MAX_ID_LENGTH && ID.test(id)) return id
  throw new TypeError(
    `The ${what} must be a string of 1 to ${MAX_ID_LENGTH} characters without control characters`,
  )
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** `!` and 22 characters of MAC; the label follows. */
export const MARK_HEAD = 23

/**
 * Returns the mark that replaces a declassified label in the set: without it, a session that remembers the label would put it
 * back. The MAC is keyed by the option `declassifySecret` and covers the holder's id, which Valkey never sees: write access to
 * Valkey is not enough to forge a mark.
 */
export function markOf(label: string, place: LabelPlace, secret: string | Buffer): string {
  const text = [place.kind, place.id, label].join('\0')
  const mac = createHmac('sha256', secret).update(text).digest().subarray(0, 16)
  return `!${mac.toString('base64url')}${label}`
}

/** Returns the label of a valid mark, `undefined` for anything else. */
export function labelOfMark(member: string, place: LabelPlace, secret: string | Buffer): string | undefined {
  const label = member.slice(MARK_HEAD)
  if (!member.startsWith('!') || !isLabel(label)) return undefined
  const given = Buffer.from(member)
  const rightful = Buffer.from(markOf(label, place, secret))
  return given.length === rightful.length && timingSafeEqual(given, rightful) ? label : undefined
}
