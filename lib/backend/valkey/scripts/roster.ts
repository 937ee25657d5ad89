import { isDigest } from '../../arguments.ts'
import type { Departed, Member, Roster } from '../../registry.ts'
import type { RegistryKeys } from '../keys.ts'
import type { ValkeyLink } from '../link.ts'
import { defineRegistryScript } from './registry-script.ts'

const DEPARTED_HEADER = /^([A-Za-z0-9_-]{43})(\d{13})$/
const DEPARTED_HEADER_BYTES = 56

/** Returns everything that stands under the keys; `epoch` may be raised before. */
export const returnRoster = /* lua */ `
-- returns { server time, ms, epoch, KEYS[1] with scores, KEYS[2] with scores, KEYS[3] in order, KEYS[4],
-- KEYS[5] newest first }
local function ranked(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
local waiting, left = redis.call('ZRANGE', pending, 0, -1), redis.call('ZRANGE', departed, 0, -1, 'REV')
return { now, epoch, ranked(orders), ranked(expiries), waiting, redis.call('HGETALL', state), left }
`

// One script: the parts are of one instant. Flags as of the standing.
const script = defineRegistryScript('allow-oom', returnRoster)

export interface RosterReply {
  readonly nowMs: number
  readonly roster: Roster
}

export function readRoster(link: ValkeyLink, keys: RegistryKeys): Promise<RosterReply> {
  return link.read({
    to: { key: keys[0] },
    send: (client, isAwaited) => script.run(client, { keys, args: [], isAwaited }),
    decode: decodeRoster,
  })
}

/** Leaves out what has expired, and names that are no handles: nothing could be done about them. */
export function decodeRoster(reply: unknown): RosterReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [nowMs, epoch, ...parts] = reply as readonly unknown[]
  if (typeof nowMs !== 'number' || typeof epoch !== 'number' || !parts.every(isBuffers)) return undefined
  const [orders = [], expiries = [], pending = [], state = [], departed = []] = parts
  const expiriesMs = pairs(expiries)
  const lives = (handle: string) => isDigest(handle) && (expiriesMs.get(handle) ?? 0) >= nowMs
  const roster = {
    epoch,
    members: membersOf({ orders: pairs(orders), expiriesMs, seenMs: pairs(state) }).filter(({ handle }) =>
      lives(handle),
    ),
    pending: pending.map(String).filter(lives),
    departed: departed.flatMap((entry) => departedOf(entry, nowMs)),
  }
  return { nowMs, roster }
}

interface MemberNumbers {
  readonly orders: ReadonlyMap<string, number>
  readonly expiriesMs: ReadonlyMap<string, number>
  readonly seenMs: ReadonlyMap<string, number>
}

function membersOf({ orders, expiriesMs, seenMs }: MemberNumbers): Member[] {
  return [...orders].map(([handle, order]) => ({
    handle,
    order,
    seenAtMs: seenMs.get(handle) ?? Math.floor(order / 1000),
    expiresAtMs: expiriesMs.get(handle) ?? 0,
  }))
}

function departedOf(entry: Buffer, nowMs: number): Departed[] {
  const [, handle, expiresAt] = DEPARTED_HEADER.exec(entry.toString('latin1', 0, DEPARTED_HEADER_BYTES)) ?? []
  if (handle === undefined || Number(expiresAt) < nowMs) return []
  return [{ handle, blob: entry.subarray(DEPARTED_HEADER_BYTES) }]
}

function pairs(flat: readonly Buffer[]): Map<string, number> {
  const entries = new Map<string, number>()
  for (let index = 0; index + 1 < flat.length; index += 2)
    entries.set(String(flat[index]), Number(flat[index + 1]))
  return entries
}

function isBuffers(value: unknown): value is readonly Buffer[] {
  return Array.isArray(value) && value.every((item) => Buffer.isBuffer(item))
}
