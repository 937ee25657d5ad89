import { createHmac, type KeyObject } from 'node:crypto'

/** HMAC-SHA-256 (RFC 2104) over the parts as if they were one. */
export function hmacSha256(key: KeyObject, parts: readonly Buffer[]): Buffer {
  const hmac = createHmac('sha256', key)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}
