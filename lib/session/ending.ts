import { type Actor, checkActor, checkCode, type OptionTable, readOptions } from '../option.ts'
import { isDevice, type SessionDevice } from './device.ts'

/** How a session came to its end. */
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

/** Completes the terms of an ending. Throws a `TypeError` that names a wrong one. */
export function endingOf(terms: EndingTerms, atMs: number): SessionEnding {
  return { at: new Date(atMs), ...readOptions(terms, ENDING_OPTIONS, 'the ending') }
}

/** With `call`, random text, no two endings are the same bytes. */
export function encodeEnding({ at, reason, actor }: SessionEnding, call?: string): Buffer {
  return Buffer.from(JSON.stringify({ at: at.getTime(), reason, actor, call }))
}

/** Strict: anything but what {@link encodeEnding} writes is `undefined`. */
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

/** What its owner's registry remembers of a session that was ended. */
export interface SessionHistory {
  /** Absent of a cookie session. */
  readonly kind?: 'token' | undefined
  readonly createdAtMs: number
  readonly device: SessionDevice | undefined
  readonly ending: SessionEnding
}

export function encodeHistory({ kind, createdAtMs, device, ending }: SessionHistory): Buffer {
  return Buffer.from(
    JSON.stringify({ kind, created: createdAtMs, device, ending: encodeEnding(ending).toString() }),
  )
}

/** Strict: anything but what {@link encodeHistory} writes is `undefined`. */
export function decodeHistory(bytes: Buffer): SessionHistory | undefined {
  try {
    const {
      kind,
      created,
      device,
      ending: text,
      ...unknown
    } = JSON.parse(bytes.toString()) as Record<string, unknown>
    const ending = typeof text === 'string' ? decodeEnding(Buffer.from(text)) : undefined
    if (!Number.isSafeInteger(created) || ending === undefined || Object.keys(unknown).length > 0)
      return undefined
    if (device !== undefined && !isDevice(device)) return undefined
    if (kind !== undefined && kind !== 'token') return undefined
    return { kind, createdAtMs: created as number, device, ending }
  } catch {
    return undefined
  }
}
