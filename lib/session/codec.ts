import {
  isSessionStoreError,
  SessionNotSerializableError,
  SessionTooLargeError,
  StoreSerializerError,
} from '../errors.ts'
import { withDeadline } from '../operations.ts'
import { loadedCookie, type StoredCookie, storedCookie } from './cookie.ts'
import type { Content } from './merge.ts'
import { isHarmless, isPlain, MAX_DEPTH, mayBeTooDeep, sanitize } from './sanitize.ts'

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

/** A session's data as the serializer wrote it. */
export interface SessionBody {
  readonly bytes: Buffer
  /** Whether the serializer wrote a string, and so is passed one. */
  readonly isText: boolean
  /** Its owner and cookie, once it was read. */
  reading?: Reading | undefined
}

/** What a save needs to know of a stored body. */
export interface Reading {
  readonly owner: string | undefined
  readonly cookie: StoredCookie
}

/** A body, or a promise of one: with an async serializer, or where it failed. */
export type PendingBody = SessionBody | Promise<SessionBody>

export function sameBody(a: SessionBody, b: SessionBody): boolean {
  return a.isText === b.isText && a.bytes.equals(b.bytes)
}

/** Turns sessions into bytes, and bytes into content that is safe to use. */
export class SessionCodec {
  readonly #serializer: SessionSerializer
  readonly #maxBytes: number
  readonly #deadlineMs: number
  /** Whether the serializer has once returned a promise. */
  #isAsync = false

  /** `deadlineMs` is how long one call of the serializer may take. */
  constructor(serializer: SessionSerializer, maxBytes: number, deadlineMs: number) {
    this.#serializer = serializer
    this.#maxBytes = maxBytes
    this.#deadlineMs = deadlineMs
  }

  /** Returns the body of a live session, or of a plain one. Captures its content before returning. Never throws. */
  encodeSession(session: object): PendingBody {
    try {
      const body = this.encode({ ...session, cookie: storedCookie(Reflect.get(session, 'cookie')) })
      return body instanceof Promise ? handled(body) : body
    } catch (error) {
      return handled(Promise.reject(error))
    }
  }

  /** As {@link encodeSession} without a promise; `undefined` if the serializer is async or fails. */
  encodeNow(session: object): SessionBody | undefined {
    const body = this.#isAsync ? undefined : this.encodeSession(session)
    return body instanceof Promise ? undefined : body
  }

  /** Returns the body, or a promise of it with an async serializer. Throws if the content cannot be stored. */
  encode(content: Content): PendingBody {
    let written: string | Uint8Array | Promise<string | Uint8Array>
    try {
      written = this.#serializer.stringify(content)
    } catch (error) {
      throw stringifyFailure(error)
    }
    if (!isThenable(written)) return this.#bodyOf(written)
    this.#isAsync = true
    return this.#encodeLate(written)
  }

  async #encodeLate(writing: PromiseLike<string | Uint8Array>): Promise<SessionBody> {
    const written = await this.#inTime('stringify', writing).catch((error: unknown) => {
      throw stringifyFailure(error)
    })
    return this.#bodyOf(written)
  }

  #bodyOf(written: unknown): SessionBody {
    const isText = typeof written === 'string'
    if (!isText && !(written instanceof Uint8Array))
      throw new SessionNotSerializableError('the serializer returned neither a string nor bytes')
    // UTF-8 has one replacement for all lone surrogates: two user ids would become one.
    if (isText && !written.isWellFormed())
      throw new SessionNotSerializableError('the serializer returned text that is not well-formed Unicode')
    const bytes = isText ? Buffer.from(written) : Buffer.from(written)
    if (bytes.length > this.#maxBytes) throw new SessionTooLargeError(bytes.length, this.#maxBytes)
    return { bytes, isText, reading: undefined }
  }

  /** Returns the content of a body that is about to be stored. Throws, or rejects, for what a later load would refuse. */
  reread(body: SessionBody): Content | Promise<Content> {
    let drops = 0
    const decoding = this.decode(body, () => {
      drops += 1
    })
    return decoding instanceof Promise
      ? decoding.then((content) => accepted(content, drops))
      : accepted(decoding, drops)
  }

  /**
   * Returns the content of a body, or a promise of it with an async serializer; `undefined` if it is none that this
   * serializer and these limits accept.
   */
  decode(body: SessionBody, onDrop?: () => void): PendingContent {
    try {
      if (body.isText && this.#serializer === jsonSerializer) return parsedJson(body.bytes.toString(), onDrop)
      const content = this.#serializer.parse(body.isText ? body.bytes.toString() : Buffer.from(body.bytes))
      return isThenable(content) ? this.#decodeLate(content, onDrop) : usableContent(content, onDrop)
    } catch {
      return undefined
    }
  }

  async #decodeLate(reading: PromiseLike<unknown>, onDrop?: () => void): Promise<Content | undefined> {
    try {
      return usableContent(await this.#inTime('parse', reading), onDrop)
    } catch (error) {
      // A late reply does not make the body unreadable, which would count as absent.
      if (error instanceof StoreSerializerError) throw error
      return undefined
    }
  }

  #inTime<Value>(method: 'stringify' | 'parse', answer: PromiseLike<Value>): Promise<Value> {
    return withDeadline(
      Promise.resolve(answer),
      this.#deadlineMs,
      () => new StoreSerializerError(method, this.#deadlineMs),
    )
  }
}

type PendingContent = Content | undefined | Promise<Content | undefined>

function accepted(content: Content | undefined, drops: number): Content {
  if (drops > 0)
    throw new SessionNotSerializableError('it has a key "__proto__", or a "constructor" with a "prototype"')
  if (content === undefined || loadedCookie(content['cookie'], 0) === undefined)
    throw new SessionNotSerializableError('what the serializer wrote, it does not read back as a session')
  return content
}

function parsedJson(text: string, onDrop?: () => void): Content | undefined {
  const content: unknown = JSON.parse(text)
  return isHarmless(text) && isPlain(content) ? content : usableContent(content, onDrop)
}

function usableContent(content: unknown, onDrop?: () => void): Content | undefined {
  return isPlain(content) && sanitize(content, onDrop) ? content : undefined
}

// The serializer's own errors may quote the session.
function stringifyFailure(error: unknown): unknown {
  return isSessionStoreError(error) ? error : new SessionNotSerializableError('the serializer failed')
}

// A save awaits it when its turn comes; until then a failure must not count as unhandled, which ends the process.
function handled<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => {})
  return promise
}

// Any thenable: the app may use a promise library.
function isThenable<Value>(answer: Value | PromiseLike<Value>): answer is PromiseLike<Value> {
  return typeof (Object(answer) as { readonly then?: unknown }).then === 'function'
}

/** `JSON`, up to the depth that a later load accepts. */
export const jsonSerializer: SessionSerializer = {
  stringify(session: object): string {
    const text = jsonOf(session)
    if (text === undefined) throw new SessionNotSerializableError(reasonFor(session))
    if (mayBeTooDeep(text) && isTooDeep(text))
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

// Names the property only if it looks like one that a developer named, not like data.
function reasonFor(session: object): string {
  const culprit = Object.entries(session).find(([, value]) => jsonOf({ value }) === undefined)?.[0] ?? ''
  const place = /^[A-Za-z_$][\w$]{0,31}$/.test(culprit) ? `"${culprit}"` : 'a property'
  return `${place} holds a BigInt, a cycle, or something else that JSON cannot write`
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

// Scans the text instead of walking the value: it includes what toJSON methods return, and a loop cannot overflow the stack.
function isTooDeep(text: string): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at)
    if (char === QUOTE) at = endOfString(text, at)
    else if (char === OPEN_BRACE || char === OPEN_BRACKET) depth += 1
    else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) depth -= 1
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
