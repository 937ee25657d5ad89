import type { Standing } from '../../registry.ts'
import type { ValkeyLink } from '../commands/link.ts'
import type { RegistryKeys } from '../keys.ts'
import { defineRegistryScript } from './registry-script.ts'

// One script: epoch and membership are of one instant. Without no-writes, so that no replica, which may lag behind,
// answers it; therefore with allow-oom, without which a full server would refuse it.
const script = defineRegistryScript(
  'allow-oom',
  /* lua */ `
-- ARGV[1] handle
-- returns { epoch, 1 for a member or else 0, server time, ms }
local lives = tonumber(redis.call('ZSCORE', expiries, ARGV[1]) or 0) >= now
return { epoch, lives and redis.call('ZSCORE', orders, ARGV[1]) and 1 or 0, now }
`,
)

// One script: a member that is counted has not been displaced meanwhile. Flags as above.
const counting = defineRegistryScript(
  'allow-oom',
  /* lua */ `
-- returns { members that were taken or may still be in time, server time, ms }
local count = math.min(redis.call('ZCARD', orders), redis.call('ZCOUNT', expiries, digits(now), '+inf'))
for _, handle in ipairs(lapsed(untaken)) do
  if tonumber(redis.call('ZSCORE', expiries, handle) or 0) >= now then count = count - 1 end
end
return { math.max(count, 0), now }
`,
)

export interface StandingReply {
  readonly nowMs: number
  readonly standing: Standing
}

export function readStanding(link: ValkeyLink, keys: RegistryKeys, handle: string): Promise<StandingReply> {
  const args = [handle]
  return link.read({
    to: { key: keys[0] },
    send: (client, isAwaited) => script.run(client, { keys, args, isAwaited }),
    decode: decodeStanding,
  })
}

export function decodeStanding(reply: unknown): StandingReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [epoch, isMember, nowMs] = reply as readonly unknown[]
  if (typeof epoch !== 'number' || typeof nowMs !== 'number') return undefined
  return { nowMs, standing: { epoch, isMember: isMember === 1 } }
}

export interface CountReply {
  readonly nowMs: number
  readonly count: number
}

export function countMembers(link: ValkeyLink, keys: RegistryKeys): Promise<CountReply> {
  return link.read({
    to: { key: keys[0] },
    send: (client, isAwaited) => counting.run(client, { keys, args: [], isAwaited }),
    decode: decodeCount,
  })
}

function decodeCount(reply: unknown): CountReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [count, nowMs] = reply as readonly unknown[]
  return typeof count === 'number' && typeof nowMs === 'number' ? { count, nowMs } : undefined
}
