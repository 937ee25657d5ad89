import { optionError } from '../option.ts'
import { isPlain } from './sanitize.ts'

/** What an app notes about the device a session was opened on. Kept sealed. */
export type SessionDevice = Readonly<Record<string, string | number | boolean>>

const MAX_ENTRIES = 16
const MAX_TEXT = 256
const NAME = /^[A-Za-z][A-Za-z0-9]{0,31}$/

/**
 * Returns what is kept of the device that the `device` option describes: cuts texts at 256 characters, as a client
 * chooses its user agent, and leaves out what is undefined. Throws a `TypeError` for anything but a flat object.
 */
export function deviceOf(described: unknown): SessionDevice | undefined {
  if (described === undefined || described === null) return undefined
  const properties = typeof described === 'object' ? Object.entries(described) : []
  // A promise, a Map or a Date has no properties, and would be noted as an empty device.
  if (!isPlain(described) && (properties.length === 0 || Array.isArray(described)))
    throw optionError('device', 'a function that returns a flat object or undefined')
  const entries = properties.filter(([, value]) => value !== undefined)
  if (entries.length > MAX_ENTRIES)
    throw optionError('device', `a function that returns at most ${MAX_ENTRIES} properties`)
  return Object.fromEntries(entries.map(([name, value]) => [checkedName(name), checkedValue(value)]))
}

function checkedName(name: string): string {
  if (!NAME.test(name))
    throw optionError('device', 'a function that returns properties named with at most 32 letters and digits')
  return name
}

function checkedValue(value: unknown): string | number | boolean {
  if (typeof value === 'string') return value.slice(0, MAX_TEXT).toWellFormed()
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) return value
  throw optionError('device', 'a function that returns strings, numbers and booleans only')
}

/** Returns whether a parsed value is a device as {@link deviceOf} returns it. */
export function isDevice(value: unknown): value is SessionDevice {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.entries(value).every(
    ([name, entry]) => NAME.test(name) && ['string', 'number', 'boolean'].includes(typeof entry),
  )
}
