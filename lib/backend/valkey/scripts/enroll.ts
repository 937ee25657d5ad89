import { isDigest } from '../../arguments.ts'
import type { Enrolment, EnrolReply } from '../../registry.ts'
import type { RegistryKeys } from '../keys.ts'
import type { Answer, ValkeyLink } from '../link.ts'
import { defineRegistryScript } from './registry-script.ts'

// One script: between counting and adding, parallel enrolments would all find room. Without allow-oom: a full server
// has room for no one new.
const script = defineRegistryScript(
  '',
  /* lua */ `
-- ARGV[1] handle   ARGV[2] ttl, ms   ARGV[3] hard end, ms, or 0   ARGV[4] cap, or 0 for none
-- ARGV[5] 'evict' or 'refuse'
-- returns { 'enrolled', server time, ms, epoch, order, pending handles }, { 'full', time } or { 'gone', time }
local handle, ends, cap, expires = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), now + tonumber(ARGV[2])
if ends > 0 and ends < expires then expires = ends end
if expires <= now then return { 'gone', now } end
for _, expired in ipairs(redis.call('ZRANGE', expiries, '-inf', '(' .. digits(now), 'BYSCORE')) do forget(expired) end

local waiting, joined = redis.call('ZSCORE', pending, handle), redis.call('ZSCORE', orders, handle)
local count, newest = redis.call('ZCARD', orders), redis.call('ZRANGE', orders, -1, -1, 'WITHSCORES')[2]
local isNew = not (waiting or joined)
if isNew and ARGV[5] == 'refuse' and cap > 0 and count >= cap then return { 'full', now } end
last = math.max(last, tonumber(newest or 0))
local order = tonumber(waiting or joined or math.max(micros, last + 1))
if not waiting then
  if epoch == 0 then epoch = micros end
  redis.call('ZADD', orders, digits(order), handle)
  redis.call('ZADD', expiries, digits(expires), handle)
  redis.call('HSET', state, 'epoch', digits(epoch), 'order', digits(math.max(last, order)), handle, digits(now))
  local surplus = ARGV[5] == 'evict' and cap > 0 and (isNew and count + 1 or count) - cap or 0
  local evicted = surplus > 0 and redis.call('ZRANGE', orders, 0, surplus - 1, 'WITHSCORES') or {}
  for index = 1, #evicted, 2 do
    redis.call('ZADD', pending, evicted[index + 1], evicted[index])
    redis.call('ZREM', orders, evicted[index])
    redis.call('HDEL', state, evicted[index])
  end
  keepUntil(expires)
end
return { 'enrolled', now, epoch, order, redis.call('ZRANGE', pending, 0, -1) }
`,
)

export interface EnrolledReply {
  readonly nowMs: number
  readonly enrolled: EnrolReply
}

export function enroll(
  link: ValkeyLink,
  keys: RegistryKeys,
  enrolment: Enrolment,
): Promise<Answer<EnrolledReply>> {
  const { handle, ttlMs, endsAtMs, cap, beyondCap } = enrolment
  const args = [handle, ttlMs, endsAtMs ?? 0, cap ?? 0, beyondCap]
  return link.write({
    to: { key: keys[0] },
    send: (client, isAwaited) => script.run(client, { keys, args, isAwaited }),
    decode,
  })
}

function decode(reply: unknown): EnrolledReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [word, nowMs, epoch, order, pending] = reply as readonly unknown[]
  const answer = (['enrolled', 'full', 'gone'] as const).find((known) => known === String(word))
  if (answer === undefined || typeof nowMs !== 'number') return undefined
  if (answer !== 'enrolled') return { nowMs, enrolled: { answer } }
  if (typeof epoch !== 'number' || typeof order !== 'number' || !Array.isArray(pending)) return undefined
  return { nowMs, enrolled: { answer, epoch, order, pending: pending.map(String).filter(isDigest) } }
}
