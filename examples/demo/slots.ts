import type { Request } from 'express'
import type { SessionDevice } from 'express-session-valkey'

/** A device that a tab of the same browser stands in for: below `/2/` it has a cookie of its own. */
interface Slot {
  readonly standsFor?: string
  readonly device?: SessionDevice
}

/** By number; the first is the browser itself. */
export const SLOTS: Readonly<Record<number, Slot>> = {
  1: {},
  2: { standsFor: 'a phone', device: { browser: 'Safari', system: 'iPhone' } },
  3: { standsFor: 'a work laptop', device: { browser: 'Edge', system: 'Windows' } },
  4: { standsFor: 'the administrator', device: { browser: 'Firefox', system: 'Linux' } },
}

const SLOT_PATH = /^\/([1-4])(?=\/|$)/

/** The number of the device that a request comes from. */
export function slotOf(request: Pick<Request, 'originalUrl'>): number {
  return Number(SLOT_PATH.exec(request.originalUrl)?.[1] ?? 1)
}

/** The path below which a device has its pages and its cookie, such as `/2/`. Redirects begin with it. */
export function rootOf(request: Pick<Request, 'originalUrl'>): string {
  return `/${slotOf(request)}/`
}
