import { randomBytes } from 'node:crypto'
import type { SessionData } from 'express-session'

export const SIZES = [560, 4096, 32_768] as const

export function newSid(): string {
  return randomBytes(24).toString('base64url')
}

/** What an app keeps in a session, without its cookie: `bytes` of JSON with one, most of it a cart. */
export function contentOf(index: number, bytes: number): Record<string, unknown> {
  const content = {
    userName: `user-${index}`,
    csrfToken: 'c'.repeat(43),
    roles: ['reader', 'editor'],
    cart: Array.from({ length: Math.floor((bytes - 370) / 25) }, (_, at) => ({
      sku: `sku-${index % 10}${at % 10}`,
      count: at % 10,
    })),
    theme: 'dark',
    visits: 100_000,
    notes: '',
  }
  const missing = bytes - JSON.stringify({ cookie: COOKIE, ...content }).length
  return { ...content, notes: 'n'.repeat(Math.max(0, missing)) }
}

/** As express-session writes one. */
export const COOKIE = { originalMaxAge: 86_400_000, httpOnly: true, path: '/', sameSite: 'lax' } as const

export function sessionOf(index: number, bytes: number): SessionData {
  return { cookie: COOKIE, ...contentOf(index, bytes) } as unknown as SessionData
}
