import type { EndReply, RecordEnding } from '../../backend.ts'
import type { Attempt, CommandRunner } from '../commands/command-runner.ts'
import { decodeOwner } from '../record-value.ts'
import { defineScript } from './script.ts'

// One script: between removing the record and leaving the tombstone a late write could bring the record back.
// allow-oom: without it the server refuses even a script that only frees memory. The script publishes the ending itself, so
// that no process ends a record and fails before publishing; on one channel, not a sharded one, as one connection must
// receive all endings.
const script = defineScript(/* lua */ `
#!lua flags=allow-oom
-- KEYS[1] record   KEYS[2] tombstone
-- ARGV[1] what the tombstone keeps   ARGV[2] its ttl with an owner, ms   ARGV[3] without, ms   ARGV[4] most bytes to return
-- ARGV[5] channel   ARGV[6] handle
-- returns { answer, removed blob or '', owner or '', server time, ms }; whatever stands at KEYS[1] is ended
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind, stone = redis.call('TYPE', KEYS[1]).ok, redis.call('TYPE', KEYS[2]).ok
local head, blob, owner = '', '', ''
if kind == 'string' then head = redis.call('GETRANGE', KEYS[1], 0, 69) end
if #head == 70 and head:sub(1, 27):find('^1%d+$') then
  if head:sub(28):find('^[%w_-]+$') then owner = head:sub(28) end
  if redis.call('STRLEN', KEYS[1]) - 70 <= tonumber(ARGV[4]) then blob = redis.call('GETRANGE', KEYS[1], 70, -1) end
end
if stone == 'string' then
  local kept = redis.call('GETRANGE', KEYS[2], 0, 43)
  if #kept == 44 and kept:find('^1[%w_-]+$') then owner = kept:sub(2) end
end

if stone ~= 'none' then
  redis.call('UNLINK', KEYS[1])
  return { 'already-ended', blob, owner, now }
end
local isOwned = owner ~= ''
-- First, so that a right that is missing for it shows before anything is written.
redis.call('PUBLISH', ARGV[5], isOwned and ARGV[6] .. ' ' .. owner or ARGV[6])
-- The tombstone before the removal: a record that is gone without one could come back.
local value = '1' .. (isOwned and owner or string.rep('.', 43)) .. ARGV[1]
redis.call('SET', KEYS[2], value, 'PX', isOwned and ARGV[2] or ARGV[3])
redis.call('UNLINK', KEYS[1])
local isMissing = kind == 'none' or (kind == 'string' and head == '')
return { isMissing and 'missing' or 'ended', blob, owner, now }
`)

export interface EndRecord {
  readonly handle: string
  readonly recordKey: string
  readonly tombstoneKey: string
  readonly channel: string
  readonly ending: RecordEnding
  /** A larger blob is removed but not returned. */
  readonly maxBlobBytes: number
}

export function endRecord(runner: CommandRunner, end: EndRecord): Promise<EndReply> {
  const { blob, ownedTtlMs, fenceTtlMs } = end.ending
  const keys = [end.recordKey, end.tombstoneKey]
  const args = [blob, ownedTtlMs, fenceTtlMs, end.maxBlobBytes, end.channel, end.handle]
  return runner.write(script.command(keys, args, decode))
}

function decode(reply: unknown, attempt: Attempt): EndReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [word, blob, owner, nowMs] = reply as readonly unknown[]
  const answer = (['ended', 'already-ended', 'missing'] as const).find((known) => known === String(word))
  if (answer === undefined || !Buffer.isBuffer(blob) || typeof nowMs !== 'number') return undefined
  attempt.observe(nowMs)
  return {
    answer,
    blob: blob.length > 0 ? Buffer.from(blob) : undefined,
    owner: decodeOwner(String(owner)),
  }
}
