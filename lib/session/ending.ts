import { type Actor, checkActor, checkCode, type OptionTable, readOptions } from '../option.ts'
import { decodeShown, encodeShown, type ShownMeta } from './metadata.ts'

/** How a session ended. */
export interface SessionEnding {
  readonly at: Date
  /**
   * A short code, formed as {@link Actor.type}. `logout`, `evicted`, `expired-absolute`, `owner-mismatch` and
   * `cleared` are the store's own, `ended` is the default, and an app adds its own words. A watch also says `expired`
   * of a session that ran out, and `unknown` of an ending that cannot be read, or of a session that was not there.
   */
  readonly reason: string
  readonly actor: Actor
}

/** Why and by whom a session is ended. */
export interface EndingTerms {
  /** @defaultValue 'ended' */
  readonly reason?: string | undefined
  /** @defaultValue `{ type: 'app' }` */
  readonly actor?: Actor | undefined
}

const CALL = /^[A-Za-z0-9_-]{16}$/

export const ENDING_OPTIONS = {
  reason: (value = 'ended', name) => checkCode(name, value),
  actor: (value = { type: 'app' }) => checkActor(value),
} satisfies OptionTable<EndingTerms>

/** Returns an ending with these terms, or their defaults. Throws a `TypeError` that names a wrong one. */
export function endingOf(terms: EndingTerms, atMs: number): SessionEnding {
  return { at: new Date(atMs), ...readOptions(terms, ENDING_OPTIONS, 'the ending') }
}

/** With a random `call`, no two endings have the same bytes. */
export function encodeEnding({ at, reason, actor }: SessionEnding, call?: string): Buffer {
  return Buffer.from(JSON.stringify({ at: at.getTime(), reason, actor, call }))
}

/** Strict: returns `undefined` for anything but what {@link encodeEnding} writes. */
export function decodeEnding(bytes: Buffer): SessionEnding | undefined {
  try {
    const { at, reason, actor, call, ...unknown } = JSON.parse(bytes.toString()) as Record<string, unknown>
    if (call !== undefined && !(typeof call === 'string' && CALL.test(call))) return undefined
    if (!Number.isSafeInteger(at) || Object.keys(unknown).length > 0) return undefined
    return endingOf({ reason: reason as string, actor: actor as Actor }, at as number)
  } catch {
    return undefined
  }
}

/** What its owner's registry keeps of a session that was ended. */
export interface SessionHistory {
  /** Absent for a cookie session. */
  readonly kind?: 'token' | undefined
  readonly meta: ShownMeta
  readonly ending: SessionEnding
}

export function encodeHistory({ kind, meta, ending }: SessionHistory): Buffer {
  return Buffer.from(JSON.stringify({ kind, ...encodeShown(meta), ending: encodeEnding(ending).toString() }))
}

/** Strict: returns `undefined` for anything but what {@link encodeHistory} writes. */
export function decodeHistory(bytes: Buffer): SessionHistory | undefined {
  try {
    const { kind, ending: text, ...shown } = JSON.parse(bytes.toString()) as Record<string, unknown>
    const ending = typeof text === 'string' ? decodeEnding(Buffer.from(text)) : undefined
    const meta = decodeShown(shown)
    if (ending === undefined || meta === undefined || (kind !== undefined && kind !== 'token'))
      return undefined
    return { kind, meta, ending }
  } catch {
    return undefined
  }
}
