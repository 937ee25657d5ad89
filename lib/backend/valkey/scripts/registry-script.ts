import { defineScript, type Script } from '../script.ts'

// Every error comes before the first write, as an error rolls nothing back: after the checks here nothing can fail.
// A number in a reply or an argument is exact below 2^53; '..' would round it to 14 digits.
const opening = /* lua */ `
-- KEYS[1] members by order   KEYS[2] members and pending by expiry, ms   KEYS[3] pending by order
-- KEYS[4] hash: 'epoch', 'order' (the last given), and by handle when a member was seen, ms
-- KEYS[5] departed by order of departure: handle (43 bytes), expiry, ms (13 digits), blob
-- error CORRUPT if anything else stands there
local orders, expiries, pending, state, departed = unpack(KEYS)
for index, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local isOurs = kind == 'none' or kind == (index == 4 and 'hash' or 'zset')
  if not isOurs then return redis.error_reply('CORRUPT no registry') end
end
local function whole(text)
  local number = tonumber(text or 0)
  return number and number >= 0 and number < 2^53 - 1 and number % 1 == 0 and number
end
local epoch, last = whole(redis.call('HGET', state, 'epoch')), whole(redis.call('HGET', state, 'order'))
if not epoch or not last then return redis.error_reply('CORRUPT no registry') end
local time = redis.call('TIME')
local now, micros = time[1] * 1000 + math.floor(time[2] / 1000), time[1] * 1000000 + time[2]

local function digits(number) return string.format('%.0f', number) end

local function forget(handle)
  for index = 1, 3 do redis.call('ZREM', KEYS[index], handle) end
  redis.call('HDEL', state, handle)
end

-- Not PEXPIREAT with GT: it takes a key without a ttl, as each is at first, for one that never expires.
local function keepUntil(ms)
  for _, key in ipairs(KEYS) do ms = math.max(ms, redis.call('PEXPIRETIME', key)) end
  for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, digits(ms)) end
end
`

/** A script over the keys of one owner's registry, which it declares all. `lua` may use what the opening defines. */
export function defineRegistryScript(flags: '' | 'allow-oom', lua: string): Script {
  return defineScript(`#!lua${flags === '' ? '' : ` flags=${flags}`}${opening}${lua}`)
}
