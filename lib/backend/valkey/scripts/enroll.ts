import { isDigest } from '../../arguments.ts'
import { type Enrolment, type EnrolReply, PAGE_SIZE } from '../../registry.ts'
import type { Attempt, CommandRunner } from '../commands/command-runner.ts'
import type { RegistryKeys } from '../keys.ts'
import { defineRegistryScript } from './registry-script.ts'

// One script: between counting and adding, parallel enrolments would all find room. Without allow-oom: a full server
// has room for no one new.
const script = defineRegistryScript(
  '',
  /* lua */ `
-- ARGV[1] handle   ARGV[2] ttl, ms   ARGV[3] hard end, ms, or 0   ARGV[4] cap, or 0 for none
-- ARGV[5] 'evict' or 'refuse'   ARGV[6] within how many ms it must be taken
-- returns { 'enrolled', server time, ms, epoch, order, pending handles }, { 'crowded', time, pending handles to end first },
-- { 'full', time } or { 'gone', time }
local handle, ends, cap, expires = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), now + tonumber(ARGV[2])
if ends > 0 and ends < expires then expires = ends end
if expires <= now then return { 'gone', now } end

local function displace(names)
  if #names == 0 then return end
  local scores, moved = redis.call('ZMSCORE', expiries, unpack(names)), {}
  for index, name in ipairs(names) do
    if isHandle(name) then
      table.insert(moved, scores[index] or digits(expires))
      table.insert(moved, name)
    end
  end
  -- First: if the right to add is taken away meanwhile, the error leaves them where they are counted.
  if #moved > 0 then redis.call('ZADD', pending, unpack(moved)) end
  for _, key in ipairs({ orders, expiries, untaken }) do redis.call('ZREM', key, unpack(names)) end
  redis.call('HDEL', state, unpack(names))
end

local function waiting()
  local handles, others = {}, {}
  for _, name in ipairs(redis.call('ZRANGE', pending, 0, ${PAGE_SIZE - 1})) do
    table.insert(isHandle(name) and handles or others, name)
  end
  forget(others)
  return handles
end

local seen = redis.call('ZSCORE', expiries, handle)
if seen and tonumber(seen) < now then forget({ handle }) end
local expired, dropped = lapsed(expiries), lapsed(pending)
forget(expired)
forget(dropped)
local function awaitTaking() redis.call('ZADD', untaken, digits(now + tonumber(ARGV[6])), handle) end
-- Who comes again goes on with the place that it did not take.
if redis.call('ZSCORE', untaken, handle) then awaitTaking() end
local stale = lapsed(untaken)
displace(stale)
-- What has expired is not counted, and goes bit by bit; but it stands before the oldest, where those must go.
local all, living = redis.call('ZCARD', orders), redis.call('ZCOUNT', expiries, digits(now), '+inf')
local members = math.max(all - (redis.call('ZCARD', expiries) - living), math.min(all, living))
local joined = whole(redis.call('ZSCORE', orders, handle) or -1)
local surplus = cap > 0 and members + (joined and 0 or 1) - cap or 0
local isInTheWay = #expired == ${PAGE_SIZE} and surplus > 0 and ARGV[5] == 'evict'
local isSwept = #stale < ${PAGE_SIZE} and #dropped < ${PAGE_SIZE} and not isInTheWay

if redis.call('ZSCORE', pending, handle) then return { 'crowded', now, { handle } } end
if not isSwept then return { 'crowded', now, waiting() } end

local newest = whole(redis.call('ZRANGE', orders, -1, -1, 'WITHSCORES')[2]) or 0
if ARGV[5] == 'refuse' then
  if not joined and surplus > 0 then return { 'full', now } end
  surplus = 0
end
local room = ${PAGE_SIZE} - redis.call('ZCARD', pending)
if surplus > 0 and room > 0 then displace(redis.call('ZRANGE', orders, 0, math.min(surplus, room) - 1)) end
if joined and redis.call('ZSCORE', pending, handle) then return { 'crowded', now, { handle } } end
if room < 0 or surplus > room then return { 'crowded', now, waiting() } end

local order = joined or math.max(micros, math.max(last, newest) + 1)
if epoch == 0 then epoch = micros end
redis.call('ZADD', orders, digits(order), handle)
redis.call('ZADD', expiries, digits(expires), handle)
redis.call('HSET', state, 'epoch', digits(epoch), 'order', digits(math.max(last, newest, order)), handle, digits(now))
if not joined then awaitTaking() end
keepUntil(expires)
return { 'enrolled', now, epoch, order, waiting() }
`,
)

export function enroll(runner: CommandRunner, keys: RegistryKeys, enrolment: Enrolment): Promise<EnrolReply> {
  const { handle, ttlMs, endsAtMs, cap, beyondCap, takenWithinMs } = enrolment
  const args = [handle, ttlMs, endsAtMs ?? 0, cap ?? 0, beyondCap, takenWithinMs]
  return runner.write(script.command(keys, args, decode))
}

function decode(reply: unknown, attempt: Attempt): EnrolReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [word, nowMs, ...more] = reply as readonly unknown[]
  const answer = (['enrolled', 'crowded', 'full', 'gone'] as const).find((known) => known === String(word))
  if (answer === undefined || typeof nowMs !== 'number') return undefined
  attempt.observe(nowMs)
  if (answer === 'full' || answer === 'gone') return { answer }
  const pending = more.at(-1)
  if (!Array.isArray(pending)) return undefined
  const handles = pending.map(String).filter(isDigest)
  if (answer === 'crowded') return { answer, pending: handles }
  const [epoch, order] = more
  if (typeof epoch !== 'number' || typeof order !== 'number') return undefined
  return { answer, epoch, order, seenAtMs: nowMs, pending: handles }
}
