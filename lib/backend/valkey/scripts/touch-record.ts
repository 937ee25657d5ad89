import type { Attempt, CommandRunner } from '../commands/command-runner.ts'
import { defineScript } from './script.ts'

// One script: the expiry in the value and the key's own move together, and only while the record lives.
// allow-oom: rewriting 13 bytes in place needs no memory, and a full server should not let what lives expire.
const script = defineScript(/* lua */ `
#!lua flags=allow-oom
-- KEYS[1] record
-- ARGV[1] ttl, ms   ARGV[2] 1 if the expiry must not come nearer
-- returns { new expiry, ms (0 if nothing lives there), server time, ms }; error CORRUPT if KEYS[1] holds no record
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('GETRANGE', KEYS[1], 0, 26)
if head == '' then return { 0, now } end
if not (#head == 27 and head:find('^1%d+$')) then return redis.error_reply('CORRUPT no record') end

local ends, expires = tonumber(head:sub(15, 27)), now + tonumber(ARGV[1])
if ARGV[2] == '1' then expires = math.max(expires, tonumber(head:sub(2, 14))) end
if ends > 0 and ends <= now then return { 0, now } end
if ends > 0 and ends < expires then expires = ends end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', expires))
redis.call('SETRANGE', KEYS[1], 1, string.format('%013.0f', expires))
return { expires, now }
`)

export interface TouchRecord {
  readonly recordKey: string
  readonly ttlMs: number
  readonly isExtension: boolean
}

export interface TouchRecordReply {
  /** `undefined` if nothing lives there. */
  readonly expiresAtMs: number | undefined
}

export function touchRecord(runner: CommandRunner, touch: TouchRecord): Promise<TouchRecordReply> {
  const keys = [touch.recordKey]
  const args = [touch.ttlMs, touch.isExtension ? 1 : 0]
  return runner.write(script.command(keys, args, decode))
}

function decode(reply: unknown, attempt: Attempt): TouchRecordReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [expiresAtMs, nowMs] = reply as readonly unknown[]
  if (typeof expiresAtMs !== 'number' || typeof nowMs !== 'number') return undefined
  attempt.observe(nowMs)
  return { expiresAtMs: expiresAtMs === 0 ? undefined : expiresAtMs }
}
