import type { IncomingMessage } from 'node:http'
import type { SessionDevice } from 'express-session-valkey'
import { SLOTS, slotOf } from './slots.ts'

const BROWSERS = ['Edg', 'OPR', 'Firefox', 'Chrome', 'Safari'] as const
const SYSTEMS = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'CrOS', 'Linux'] as const
const NAMES: Readonly<Record<string, string>> = {
  Edg: 'Edge',
  OPR: 'Opera',
  'Mac OS': 'macOS',
  CrOS: 'ChromeOS',
}

/** What the demo keeps of a device: browser and system as far as the user agent names them. */
export function describeDevice(request: IncomingMessage & { originalUrl?: string }): SessionDevice {
  const { device } = SLOTS[slotOf({ originalUrl: request.originalUrl ?? '/' })] ?? {}
  if (device) return device
  const agent = request.headers['user-agent'] ?? ''
  return {
    browser: firstIn(agent, BROWSERS, 'A browser'),
    system: firstIn(agent, SYSTEMS, 'an unknown system'),
  }
}

/** “Firefox on Windows” */
export function deviceName(device: SessionDevice | undefined): string {
  return `${device?.['browser'] ?? 'A browser'} on ${device?.['system'] ?? 'an unknown system'}`
}

function firstIn(agent: string, words: readonly string[], otherwise: string): string {
  const word = words.find((one) => agent.includes(one))
  return word === undefined ? otherwise : (NAMES[word] ?? word)
}
