import { createHmac, timingSafeEqual } from 'node:crypto'
import { isLabel } from './label.ts'
import type { LabelPlace } from './label-holder.ts'

/** `!` and 22 characters of MAC; the label follows. */
export const MARK_HEAD = 23

/**
 * What stands in the set where a declassified label stood: without it, whatever remembers the label would put it
 * back. The MAC is keyed by the option `declassifySecret` and covers the holder's id, which is nowhere in Valkey:
 * one who can write there can make no marks.
 */
export function markOf(label: string, place: LabelPlace, secret: string | Buffer): string {
  const text = [place.kind, place.id, label].join('\0')
  const mac = createHmac('sha256', secret).update(text).digest().subarray(0, 16)
  return `!${mac.toString('base64url')}${label}`
}

/** The label of a rightful mark, `undefined` for anything else. */
export function labelOfMark(member: string, place: LabelPlace, secret: string | Buffer): string | undefined {
  const label = member.slice(MARK_HEAD)
  if (!member.startsWith('!') || !isLabel(label)) return undefined
  const given = Buffer.from(member)
  const rightful = Buffer.from(markOf(label, place, secret))
  return given.length === rightful.length && timingSafeEqual(given, rightful) ? label : undefined
}
