import { wholeTtl } from '../../arguments.ts'
import type { PutReply, RecordWrite } from '../../backend.ts'
import type { Attempt, CommandRunner } from '../commands/command-runner.ts'
import { NO_OWNER } from '../record-value.ts'
import { defineScript } from './script.ts'

// One script: between a check and a write of their own, another write would be lost, or an ended record revived.
// Every read comes before the write, as an error rolls nothing back.
const script = defineScript(/* lua */ `
#!lua
-- KEYS[1] record   KEYS[2] tombstone
-- ARGV[1] 'absent', 'version' or 'any'   ARGV[2] etag expected by 'version'   ARGV[3] ttl, ms
-- ARGV[4] hard end, ms, or 0   ARGV[5] owner field, 43 bytes   ARGV[6] blob
-- ARGV[7] 1 if the expiry must not come nearer
-- returns { answer, expiry, ms (0 unless stored), server time, ms }; error CORRUPT if KEYS[1] holds no record
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', KEYS[2]) == 1 then return { 'ended', 0, now } end

local head = redis.call('GETRANGE', KEYS[1], 0, 26)
local etag = redis.call('GETRANGE', KEYS[1], -16, -1)
if head ~= '' and not (#head == 27 and head:find('^1%d+$')) then return redis.error_reply('CORRUPT no record') end
if etag == ARGV[6]:sub(-16) then return { 'stored', tonumber(head:sub(2, 14)), now } end
if ARGV[1] == 'absent' and head ~= '' then return { 'conflict', 0, now } end
if ARGV[1] == 'version' and head == '' then return { 'gone', 0, now } end
if ARGV[1] == 'version' and etag ~= ARGV[2] then return { 'conflict', 0, now } end

local ends, expires = tonumber(ARGV[4]), now + tonumber(ARGV[3])
if ARGV[7] == '1' and head ~= '' then expires = math.max(expires, tonumber(head:sub(2, 14))) end
if ends > 0 and ends <= now then return { 'gone', 0, now } end
if ends > 0 and ends < expires then expires = ends end
local value = string.format('1%013.0f%013.0f', expires, ends) .. ARGV[5] .. ARGV[6]
redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', expires))
return { 'stored', expires, now }
`)

export interface PutRecord {
  readonly recordKey: string
  readonly tombstoneKey: string
  readonly write: RecordWrite
}

export function putRecord(runner: CommandRunner, put: PutRecord): Promise<PutReply> {
  const { expect, blob, ttlMs, endsAtMs, owner, isExtension = false } = put.write
  const keys = [put.recordKey, put.tombstoneKey]
  const etag = expect.kind === 'version' ? expect.etag : ''
  const terms = [wholeTtl(ttlMs), endsAtMs ?? 0, owner ?? NO_OWNER]
  const args = [expect.kind, etag, ...terms, blob, isExtension ? 1 : 0]
  return runner.write(script.command(keys, args, decode))
}

function decode(reply: unknown, attempt: Attempt): PutReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [word, expiresAtMs, nowMs] = reply as readonly unknown[]
  const answer = (['stored', 'conflict', 'gone', 'ended'] as const).find((known) => known === String(word))
  if (answer === undefined || typeof expiresAtMs !== 'number' || typeof nowMs !== 'number') return undefined
  attempt.observe(nowMs)
  if (answer === 'stored') return { answer, expiresAtMs }
  return { answer: answer === 'conflict' && attempt.wasRetried ? 'unsure' : answer }
}
