import { createHash } from 'node:crypto'

/** Who has labels: a session, by its id, or a subject (a user), by the app's own id of it. */
export type LabelHolder = { readonly sid: string } | { readonly subject: string }

/** Where the labels of a holder are, and what the holder may be called outside. */
export interface LabelPlace {
  readonly key: string
  readonly kind: 'session' | 'subject'
  /** SHA-256, hex: the holder's only name in keys, alarms and audits. */
  readonly digest: string
  /** Never leaves the process. */
  readonly id: string
}

const MAX_ID_LENGTH = 1024
// Without control characters no session id can begin like the text a subject is hashed as.
const ID = /^[^\p{Cc}\p{Cs}]+$/u

/** A session id alone means the session. Throws a `TypeError` that does not quote the id. */
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
