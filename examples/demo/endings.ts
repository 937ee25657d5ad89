import type { Actor, SessionEnding } from 'express-session-valkey'
import { type Html, html } from './html.ts'
import type { Users } from './users.ts'

/** What an administrator may give as the reason. */
export const ADMIN_REASONS: readonly string[] = [
  'lost-device',
  'suspicious-activity',
  'password-changed',
  'left-the-company',
]

/** Why sessions end, as the store keeps it and as people read it. */
const TEXTS: Readonly<Record<string, string>> = {
  'ended-by-user': 'ended from the device list',
  'ended-by-admin': 'ended by an administrator',
  'signed-out-elsewhere': 'signed out everywhere else',
  'lost-device': 'the device is lost or stolen',
  'suspicious-activity': 'something looked suspicious',
  'password-changed': 'the password was changed',
  'left-the-company': 'the user has left the company',
  logout: 'signed out',
  evicted: 'there were too many sessions',
  expired: 'unused for too long',
}

export function reasonText(reason: string): string {
  return TEXTS[reason] ?? reason
}

/** “Olga Petrov ended this session: the device is lost or stolen.” */
export function endingSentence({ reason, actor }: SessionEnding, name?: string): string {
  if (reason === 'logout') return 'Signed out on the device itself.'
  if (actor.type === 'user') return `You ended this session from another device: ${reasonText(reason)}.`
  return `${name ?? 'The system'} ended this session: ${reasonText(reason)}.`
}

export function actorName({ type, id }: Actor, users: Users): string {
  return users.get(id ?? '')?.name ?? (type === 'app' ? 'the user' : type)
}

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'always' })

/** “3 minutes ago”, with the time itself where a browser shows it. */
export function sinceThen(date: Date): Html {
  const ago = Date.now() - date.getTime()
  const [unit, ms] = UNITS.find(([, size]) => ago >= size) ?? []
  const text = unit === undefined ? 'just now' : relative.format(-Math.floor(ago / ms), unit)
  const iso = date.toISOString()
  return html`<time datetime="${iso}" title="${iso.replace('T', ' ').slice(0, 19)} UTC">${text}</time>`
}
