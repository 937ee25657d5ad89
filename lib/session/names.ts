import { hash } from 'node:crypto'

// NUL, braces, globs and lone surrogates (which all collapse to U+FFFD in UTF-8) never reach a key or a hash.
const SESSION_ID = /^[A-Za-z0-9._~+/=:-]{1,256}$/
const HANDLE = /^[A-Za-z0-9_-]{43}$/

/** The handle of a session id, or `undefined` if the id cannot be one. */
export function handleOf(sid: unknown): string | undefined {
  if (typeof sid !== 'string' || !SESSION_ID.test(sid)) return undefined
  return hash('sha256', sid, 'base64url')
}

/** Whether a text has the form of a handle; session ids that do are told apart by their place in the API. */
export function isHandle(text: unknown): text is string {
  return typeof text === 'string' && HANDLE.test(text)
}
