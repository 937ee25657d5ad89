import type { EndReply, RecordEnding } from '../../backend.ts'
import type { Answer, ValkeyLink } from '../link.ts'
import { decodeOwner } from '../record-value.ts'
import { defineScript } from '../script.ts'

// One script: between removing the record and leaving the tombstone a late write could bring the record back.
// allow-oom: without it the server refuses even a script that only frees memory. pcall: ends whatever stands there.
const script = defineScript(/* lua */ `
#!lua flags=allow-oom
-- KEYS[1] record   KEYS[2] tombstone
-- ARGV[1] what the tombstone keeps   ARGV[2] its ttl, ms, with an owner   ARGV[3] and without   ARGV[4] most bytes to return
-- returns { answer, removed blob or '', owner or '', server time, ms }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local size, head, blob, owner = redis.pcall('STRLEN', KEYS[1]), '', '', ''
if type(size) == 'number' then head = redis.call('GETRANGE', KEYS[1], 0, 69) end
if #head == 70 and head:sub(1, 27):find('^1%d+$') then
  if head:sub(28):find('^[%w_-]+$') then owner = head:sub(28) end
  if size - 70 <= tonumber(ARGV[4]) then blob = redis.call('GETRANGE', KEYS[1], 70, -1) end
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  local stone = redis.pcall('GETRANGE', KEYS[2], 0, 43)
  if type(stone) == 'string' and stone:find('^1[%w_-]+$') then owner = stone:sub(2) end
  redis.call('UNLINK', KEYS[1])
  return { 'already-ended', blob, owner, now }
end
local ttl = ARGV[owner == '' and 3 or 2]
redis.call('SET', KEYS[2], '1' .. (owner == '' and string.rep('.', 43) or owner) .. ARGV[1], 'PX', ttl)
redis.call('UNLINK', KEYS[1])
return { size == 0 and 'missing' or 'ended', blob, owner, now }
`)

export interface EndRecord {
  readonly recordKey: string
  readonly tombstoneKey: string
  readonly ending: RecordEnding
  /** A larger blob is removed but not returned. */
  readonly maxBlobBytes: number
}

export interface EndRecordReply extends EndReply {
  readonly nowMs: number
}

export function endRecord(link: ValkeyLink, end: EndRecord): Promise<Answer<EndRecordReply>> {
  const { blob, ownedTtlMs, fenceTtlMs } = end.ending
  const keys = [end.recordKey, end.tombstoneKey]
  const args = [blob, ownedTtlMs, fenceTtlMs, end.maxBlobBytes]
  return link.write({ send: (client, isAwaited) => script.run(client, { keys, args, isAwaited }), decode })
}

function decode(reply: unknown): EndRecordReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [word, blob, owner, nowMs] = reply as readonly unknown[]
  const answer = (['ended', 'already-ended', 'missing'] as const).find((known) => known === String(word))
  if (answer === undefined || !Buffer.isBuffer(blob) || typeof nowMs !== 'number') return undefined
  return { answer, blob: blob.length > 0 ? blob : undefined, owner: decodeOwner(String(owner)), nowMs }
}
