import { PAGE_SIZE } from '../../registry.ts'
import { defineScript, type Script } from './script.ts'

// Every error comes before the first write, as an error rolls nothing back: after the checks here nothing can fail but a
// command that the user has no right to any more, so what is moved is added to its new place before it leaves the old one.
// A number in a reply or an argument is exact below 2^53; '..' would round it to 14 digits. No script reads more than a
// page of anything, and none copies a value without checking its size where that is possible: values planted with write
// access must not be able to block the server.
const opening = /* lua */ `
-- KEYS[1] members by order   KEYS[2] members by expiry, ms   KEYS[3] pending by expiry, ms
-- KEYS[4] hash: 'epoch', 'order' (the last given), and by handle when a member was seen, ms
-- KEYS[5] departed by order of departure: handle (43 bytes), expiry, ms (13 digits), blob
-- KEYS[6] members that are not taken yet, by when they must be, ms
-- error CORRUPT if anything else stands there
local orders, expiries, pending, state, departed, untaken = unpack(KEYS)
for index, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local isOurs = kind == 'none' or kind == (index == 4 and 'hash' or 'zset')
  if not isOurs then return redis.error_reply('CORRUPT no registry') end
end
local function whole(text)
  local number = tonumber(text or 0)
  return number and number >= 0 and number < 2^53 - 1 and number % 1 == 0 and number
end
local function kept(field)
  return redis.call('HSTRLEN', state, field) <= 16 and whole(redis.call('HGET', state, field))
end
local epoch, last = kept('epoch'), kept('order')
if not epoch or not last then return redis.error_reply('CORRUPT no registry') end
local time = redis.call('TIME')
local now, micros = time[1] * 1000 + math.floor(time[2] / 1000), time[1] * 1000000 + time[2]

local function digits(number) return string.format('%.0f', number) end
local function isHandle(name) return #name == 43 and not name:find('[^%w_-]') end

-- At most a page of names.
local function forget(names)
  if #names == 0 then return end
  for _, key in ipairs({ orders, expiries, pending, untaken }) do redis.call('ZREM', key, unpack(names)) end
  redis.call('HDEL', state, unpack(names))
end

-- A page of those whose time has passed.
local function lapsed(key)
  return redis.call('ZRANGE', key, '-inf', '(' .. digits(now), 'BYSCORE', 'LIMIT', 0, ${PAGE_SIZE})
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
