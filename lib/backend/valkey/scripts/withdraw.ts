import { MAX_DEPARTED, type Withdrawal } from '../../registry.ts'
import type { Attempt, CommandRunner } from '../commands/command-runner.ts'
import type { RegistryKeys } from '../keys.ts'
import { defineRegistryScript } from './registry-script.ts'

// One script: a handle is at no instant neither a member nor departed.
// allow-oom: without it the server refuses even a script that only frees memory.
const script = defineRegistryScript(
  'allow-oom',
  /* lua */ `
-- ARGV[1] ttl of departed, ms   ARGV[2] member that is taken, or ''   ARGV[3] number of departed
-- ARGV[4] when those to remove were last seen, ms, or ''   ARGV[5...] handle and blob of each   ARGV[...] handles to remove
-- returns server time, ms
local last = 4 + 2 * tonumber(ARGV[3])
local handles = {}
for index = last + 1, #ARGV do
  local handle = ARGV[index]
  -- Asked for its size first: a planted one may be of any.
  local seen = ARGV[4] ~= '' and redis.call('HSTRLEN', state, handle) <= 16 and redis.call('HGET', state, handle)
  if ARGV[4] == '' or seen == ARGV[4] then table.insert(handles, handle) end
end
forget(handles)
if ARGV[2] ~= '' then redis.call('ZREM', untaken, ARGV[2]) end
if last == 4 then return now end

-- Never so many but by somebody else's hand.
if redis.call('ZCARD', departed) > ${MAX_DEPARTED} then redis.call('UNLINK', departed) end
local isKnown, order, remembered = {}, 0, redis.call('ZRANGE', departed, 0, -1, 'WITHSCORES')
for index = 1, #remembered, 2 do
  order = whole(remembered[index + 1]) or order
  if (tonumber(remembered[index]:sub(44, 56)) or 0) >= now then isKnown[remembered[index]:sub(1, 43)] = true
  else redis.call('ZREM', departed, remembered[index]) end
end
local expires = now + tonumber(ARGV[1])
for index = 5, last, 2 do
  if not isKnown[ARGV[index]] then
    isKnown[ARGV[index]], order = true, math.max(micros, order + 1)
    redis.call('ZADD', departed, digits(order), ARGV[index] .. string.format('%013.0f', expires) .. ARGV[index + 1])
  end
end
redis.call('ZREMRANGEBYRANK', departed, 0, -${MAX_DEPARTED + 1})
keepUntil(expires)
return now
`,
)

export function withdraw(
  runner: CommandRunner,
  keys: RegistryKeys,
  withdrawal: Withdrawal,
): Promise<unknown> {
  const { handles, seenAtMs = '', departed = [], departedTtlMs, taken = '' } = withdrawal
  const args = [
    departedTtlMs,
    taken,
    departed.length,
    seenAtMs,
    ...departed.flatMap(({ handle, blob }) => [handle, blob]),
    ...handles,
  ]
  return runner.write(script.command(keys, args, decode))
}

function decode(nowMs: unknown, attempt: Attempt): number | undefined {
  if (typeof nowMs !== 'number') return undefined
  attempt.observe(nowMs)
  return nowMs
}
