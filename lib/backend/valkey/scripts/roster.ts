import { DIGEST } from '../../arguments.ts'
import {
  type Departed,
  MAX_DEPARTED,
  MAX_DEPARTED_BYTES,
  type Member,
  PAGE_SIZE,
  type Roster,
} from '../../registry.ts'
import type { Attempt, CommandRunner } from '../commands/command-runner.ts'
import type { RegistryKeys } from '../keys.ts'
import { defineRegistryScript } from './registry-script.ts'

const DEPARTED_HEADER = new RegExp(`^(${DIGEST})(\\d{13})$`)
const DEPARTED_HEADER_BYTES = 56

/** Returns a page of the roster; `below` is the score that its orders stay below, and `epoch` may be raised before. */
export const returnRoster = /* lua */ `
-- returns { server time, ms, epoch, cursor of the next page or '', members of KEYS[1], oldest first, each with order, expiry,
-- when it was seen and 1 for taken or else 0, pending handles, departed, newest first }
local function page(below, isFirst)
  local found = redis.call('ZRANGE', orders, below, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ${PAGE_SIZE + 1}, 'WITHSCORES')
  local names, places, members = {}, {}, {}
  for index = math.min(#found, ${2 * PAGE_SIZE}) - 1, 1, -2 do
    local order = isHandle(found[index]) and whole(found[index + 1])
    if order then
      table.insert(names, found[index])
      table.insert(places, order)
    end
  end
  local ends = #names > 0 and redis.call('ZMSCORE', expiries, unpack(names)) or {}
  local seen = #names > 0 and redis.call('HMGET', state, unpack(names)) or {}
  local awaited = #names > 0 and redis.call('ZMSCORE', untaken, unpack(names)) or {}
  for index, name in ipairs(names) do
    local expires = whole(ends[index])
    if expires and expires >= now then
      local at = whole(seen[index] or -1) or math.floor(places[index] / 1000)
      for _, part in ipairs({ name, places[index], expires, at, awaited[index] and 0 or 1 }) do table.insert(members, part) end
    end
  end

  local waiting, left = {}, {}
  for _, name in ipairs(redis.call('ZRANGE', pending, digits(now), '+inf', 'BYSCORE', 'LIMIT', 0, ${PAGE_SIZE})) do
    if isHandle(name) then table.insert(waiting, name) end
  end
  for _, entry in ipairs(isFirst and redis.call('ZRANGE', departed, 0, ${MAX_DEPARTED - 1}, 'REV') or {}) do
    if #entry <= ${DEPARTED_HEADER_BYTES + MAX_DEPARTED_BYTES} then table.insert(left, entry) end
  end
  return { now, epoch, #found > ${2 * PAGE_SIZE} and found[${2 * PAGE_SIZE}] or '', members, waiting, left }
end
`

// One script: the parts are of one instant. Flags as of the standing.
const script = defineRegistryScript(
  'allow-oom',
  `
-- ARGV[1] cursor, or '' for the first page
${returnRoster}
return page(ARGV[1] == '' and '+inf' or '(' .. ARGV[1], ARGV[1] == '')
`,
)

export function readRoster(runner: CommandRunner, keys: RegistryKeys, cursor = ''): Promise<Roster> {
  return runner.read(script.command(keys, [cursor], decodeRoster))
}

export function decodeRoster(reply: unknown, attempt: Attempt): Roster | undefined {
  if (!Array.isArray(reply)) return undefined
  const [nowMs, epoch, next, members, pending, departed] = reply as readonly unknown[]
  if (typeof nowMs !== 'number' || typeof epoch !== 'number' || !Array.isArray(members)) return undefined
  if (!isBuffers(pending) || !isBuffers(departed)) return undefined
  attempt.observe(nowMs)
  const cursor = String(next)
  return {
    epoch,
    members: membersOf(members),
    ...(cursor !== '' && { next: cursor }),
    pending: pending.map(String),
    departed: departed.flatMap((entry) => departedOf(entry, nowMs)),
  }
}

function membersOf(flat: readonly unknown[]): Member[] {
  const members: Member[] = []
  for (let index = 0; index + 4 < flat.length; index += 5) {
    const [handle, order, expiresAtMs, seenAtMs, taken] = flat.slice(index, index + 5)
    members.push({
      handle: String(handle),
      order: Number(order),
      seenAtMs: Number(seenAtMs),
      expiresAtMs: Number(expiresAtMs),
      isTaken: taken === 1,
    })
  }
  return members
}

function departedOf(entry: Buffer, nowMs: number): Departed[] {
  const [, handle, expiresAt] = DEPARTED_HEADER.exec(entry.toString('latin1', 0, DEPARTED_HEADER_BYTES)) ?? []
  if (handle === undefined || Number(expiresAt) < nowMs) return []
  return [{ handle, blob: entry.subarray(DEPARTED_HEADER_BYTES) }]
}

function isBuffers(value: unknown): value is readonly Buffer[] {
  return Array.isArray(value) && value.every((item) => Buffer.isBuffer(item))
}
