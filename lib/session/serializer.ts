import { SessionNotSerializableError } from '../errors.ts'
import { MAX_DEPTH } from './sanitize.ts'

/**
 * Writes and reads the data of a session. Either method may be async. `stringify` gets a plain object; `parse`
 * gets what `stringify` returned: a string stays a string, anything else comes back as a Buffer.
 *
 * @example
 * ```ts
 * import { pack, unpack } from 'msgpackr'
 * import { InProcessStore } from 'express-session-valkey'
 *
 * const store = new InProcessStore({ serializer: { stringify: pack, parse: (bytes: Buffer) => unpack(bytes) } })
 * ```
 */
export interface SessionSerializer {
  stringify(session: object): string | Uint8Array | Promise<string | Uint8Array>
  parse(stored: string | Buffer): unknown
}

/** `JSON`, with the depth that a later load accepts. */
export const jsonSerializer: SessionSerializer = {
  stringify(session: object): string {
    const text = jsonOf(session)
    if (text === undefined) throw new SessionNotSerializableError(reasonFor(session))
    if (isTooDeep(text))
      throw new SessionNotSerializableError(`it is nested more than ${MAX_DEPTH} levels deep`)
    return text
  },
  parse: (stored) => JSON.parse(stored.toString()) as unknown,
}

function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

// Names the property for its developer, but only if it looks like one that a developer named.
function reasonFor(session: object): string {
  const culprit = Object.entries(session).find(([, value]) => jsonOf({ value }) === undefined)?.[0] ?? ''
  const place = /^[A-Za-z_$][\w$]{0,31}$/.test(culprit) ? `"${culprit}"` : 'a property'
  return `${place} holds a BigInt, a cycle, or something else that JSON cannot write`
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPENING = new Set([0x5b, 0x7b])
const CLOSING = new Set([0x5d, 0x7d])

// Scans the text instead of walking the value: what toJSON methods return counts, and a loop cannot overflow.
function isTooDeep(text: string): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at)
    if (char === QUOTE) at = endOfString(text, at)
    else if (OPENING.has(char)) depth += 1
    else if (CLOSING.has(char)) depth -= 1
    if (depth > MAX_DEPTH) return true
  }
  return false
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text.charCodeAt(at)
    if (char === BACKSLASH) at += 1
    else if (char === QUOTE) return at
  }
  return text.length
}
