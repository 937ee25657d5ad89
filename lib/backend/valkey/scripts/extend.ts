import type { Extension, Standing } from '../../registry.ts'
import type { CommandRunner } from '../commands/command-runner.ts'
import type { RegistryKeys } from '../keys.ts'
import { defineRegistryScript } from './registry-script.ts'
import { decodeStanding } from './standing.ts'

// One script: a member that expires or is evicted in between must not come back.
// allow-oom: it replaces numbers by numbers, and a full server should not sign anybody out.
const script = defineRegistryScript(
  'allow-oom',
  /* lua */ `
-- ARGV[1] handle   ARGV[2] ttl, ms   ARGV[3] hard end, ms, or 0   ARGV[4] 1 if the expiry must not come nearer
-- returns { epoch, 1 for a member or else 0, server time, ms }
local handle, ends, expires = ARGV[1], tonumber(ARGV[3]), now + tonumber(ARGV[2])
if ends > 0 and ends < expires then expires = ends end
local before = tonumber(redis.call('ZSCORE', expiries, handle) or 0)
local lives = before >= now and expires > now
if not lives or not redis.call('ZSCORE', orders, handle) then return { epoch, 0, now } end
if ARGV[4] == '1' then expires = math.max(expires, before) end
redis.call('ZADD', expiries, digits(expires), handle)
redis.call('HSET', state, handle, digits(now))
redis.call('ZREM', untaken, handle)
keepUntil(expires)
return { epoch, 1, now }
`,
)

export function extend(runner: CommandRunner, keys: RegistryKeys, extension: Extension): Promise<Standing> {
  const { handle, ttlMs, endsAtMs, isExtension = false } = extension
  const args = [handle, ttlMs, endsAtMs ?? 0, isExtension ? 1 : 0]
  return runner.write(script.command(keys, args, decodeStanding))
}
