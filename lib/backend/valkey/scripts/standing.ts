import type { Standing } from '../../registry.ts'
import type { Attempt, CommandRunner } from '../commands/command-runner.ts'
import type { RegistryKeys } from '../keys.ts'
import { defineRegistryScript } from './registry-script.ts'

// One script: epoch and membership are of one instant. Without no-writes, so that no replica, which may lag behind, runs it;
// therefore with allow-oom, without which a full server would refuse it.
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

export function readStanding(runner: CommandRunner, keys: RegistryKeys, handle: string): Promise<Standing> {
  const args = [handle]
  return runner.read(script.command(keys, args, decodeStanding))
}

export function decodeStanding(reply: unknown, attempt: Attempt): Standing | undefined {
  if (!Array.isArray(reply)) return undefined
  const [epoch, isMember, nowMs] = reply as readonly unknown[]
  if (typeof epoch !== 'number' || typeof nowMs !== 'number') return undefined
  attempt.observe(nowMs)
  return { epoch, isMember: isMember === 1 }
}

export function countMembers(runner: CommandRunner, keys: RegistryKeys): Promise<number> {
  return runner.read(counting.command(keys, [], decodeCount))
}

function decodeCount(reply: unknown, attempt: Attempt): number | undefined {
  if (!Array.isArray(reply)) return undefined
  const [count, nowMs] = reply as readonly unknown[]
  if (typeof count !== 'number' || typeof nowMs !== 'number') return undefined
  attempt.observe(nowMs)
  return count
}
