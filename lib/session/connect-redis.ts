/** The form in which connect-redis keeps a session: JSON, with the cookie's expiry in it and the key's own beside it. */

import type { SessionData } from 'express-session'
import type { ForeignValue } from '../backend/foreign.ts'
import { MAX_TTL_MS } from '../option.ts'
import { jsonSerializer, type SessionBody, SessionCodec } from './codec.ts'
import { cookieExpiry, loadedCookie } from './cookie.ts'

/** Why a value cannot be taken over as a session. */
export type LegacyFlaw = 'other-type' | 'too-large' | 'broken' | 'no-session' | 'expired'

export interface LegacySession {
  readonly session: SessionData
  /** The lifetime that is left, in ms; `undefined` if it is unknown. */
  readonly ttlMs: number | undefined
}

// Never waited for, as JSON.parse is synchronous.
const PARSE_MS = 1000

/**
 * Reads a value of connect-redis, which anybody who can write to the server may have written; `undefined` if there is
 * none. Its lifetime is that of the key, the only one that connect-redis extends.
 */
export async function readLegacy(
  value: ForeignValue,
  { maxBytes, nowMs }: { readonly maxBytes: number; readonly nowMs: number },
): Promise<LegacySession | LegacyFlaw | undefined> {
  if (value.state === 'missing') return undefined
  if (value.state !== 'value') return value.state
  const { bytes, leftMs } = value
  const isWhole = bytes.toString().isWellFormed() && Buffer.from(bytes.toString()).equals(bytes)
  const codec = new SessionCodec(jsonSerializer, maxBytes, PARSE_MS)
  const content = isWhole ? await codec.decode({ bytes, isText: true }) : undefined
  if (content === undefined) return 'broken'
  const expiresMs = cookieExpiry(content['cookie'])
  const ttlMs = leftMs ?? (expiresMs === undefined ? undefined : expiresMs - nowMs)
  const cookie = loadedCookie(content['cookie'], nowMs + (ttlMs ?? 0))
  if (cookie === undefined) return 'no-session'
  if (ttlMs !== undefined && !(ttlMs > 0)) return 'expired'
  return { session: { ...content, cookie }, ttlMs: ttlMs && Math.min(ttlMs, MAX_TTL_MS) }
}

/** Returns what connect-redis would store of a session; `undefined` if it is not stored as JSON. */
export function writeLegacy({ bytes, isText }: SessionBody, expiresAtMs: number): Buffer | undefined {
  if (!isText) return undefined
  try {
    const content = JSON.parse(bytes.toString()) as Readonly<Record<string, unknown>>
    const cookie = loadedCookie(content['cookie'], expiresAtMs)
    return cookie && Buffer.from(JSON.stringify({ ...content, cookie }))
  } catch {
    return undefined
  }
}
