import type { SessionEnding } from 'express-session-valkey'
import { type Html, html } from './html.ts'

/** Why sessions end, as the store keeps it and as people read it. */
export const REASONS: Readonly<Record<string, string>> = {
  'ended-by-user': 'ended from the device list',
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
  return REASONS[reason] ?? reason
}

/** “Olga Petrov ended this session: the device is lost or stolen.” */
export function endingSentence({ reason, actor }: SessionEnding, name?: string): string {
  const who = actor.type === 'user' ? 'You' : (name ?? 'The system')
  return `${who} ended this session${actor.type === 'user' ? ' from another device' : ''}: ${reasonText(reason)}.`
}

export function timeOf(date: Date): Html {
  const iso = date.toISOString()
  return html`<time datetime="${iso}">${iso.replace('T', ' ').slice(0, 19)} UTC</time>`
}
