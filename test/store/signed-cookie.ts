import { createHmac } from 'node:crypto'
import { COOKIE_SECRET } from './app.ts'

/** A cookie as this app's own cookie-parser signs them: genuine, but never issued as a session id. */
export function signedCookie(value: string): string {
  const signature = createHmac('sha256', COOKIE_SECRET).update(value).digest('base64').replace(/=+$/, '')
  return `connect.sid=${encodeURIComponent(`s:${value}.${signature}`)}`
}
