import type { CommandRunner } from '../commands/command-runner.ts'
import { decodeUnion } from './add-labels.ts'
import { MAX_MEMBER_BYTES } from './load-labels.ts'
import { defineScript } from './script.ts'

// The only script that takes a label away. It has a deadline because, held up on its way, it would take away what was
// added after it; and it must not be repeated for the same reason.
const script = defineScript(/* lua */ `
#!lua
-- KEYS[1] set
-- ARGV[1] if it has less than this left, ms, or 0   ARGV[2] it gets this, ms   ARGV[3] most distinct labels
-- ARGV[4] latest server time, ms   ARGV[5...] marks: '!', 22 characters, label
-- returns { members after it, how many }, 'full' or 'late'
-- error WRONGTYPE if KEYS[1] holds no set, CORRUPT if it or a member is too large
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[4]) then return 'late' end
local size = redis.call('SCARD', KEYS[1])
if size > tonumber(ARGV[3]) then return redis.error_reply('CORRUPT too many members') end
local stands = {}
for _, member in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if #member > ${MAX_MEMBER_BYTES} then return redis.error_reply('CORRUPT too large a member') end
  stands[member:sub(1, 1) == '!' and member:sub(24) or member] = member
end

local released = {}
for index = 5, #ARGV do
  local member = stands[ARGV[index]:sub(24)]
  if not member then size = size + 1 end
  if member and member ~= ARGV[index] then table.insert(released, member) end
end
if size > tonumber(ARGV[3]) then return 'full' end

-- Removes nothing, and so shows a missing right before anything is written.
redis.call('SREM', KEYS[1], '')
local least, left = tonumber(ARGV[1]), redis.call('PTTL', KEYS[1])
redis.call('SADD', KEYS[1], unpack(ARGV, 5))
if #released > 0 then redis.call('SREM', KEYS[1], unpack(released)) end
if least > 0 and left ~= -1 and left < least then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local members = redis.call('SMEMBERS', KEYS[1])
return { members, #members }
`)

export interface ReleaseLabels {
  readonly key: string
  readonly marks: readonly string[]
  readonly leastMs: number
  readonly targetMs: number
  readonly maxLabels: number
  readonly deadlineMs: number
}

/** `runner` must not repeat. */
export function releaseLabels(
  runner: CommandRunner,
  release: ReleaseLabels,
): Promise<readonly string[] | 'full' | 'late'> {
  const keys = [release.key]
  const args = [release.leastMs, release.targetMs, release.maxLabels, release.deadlineMs, ...release.marks]
  return runner.write(script.command(keys, args, decode))
}

function decode(reply: unknown): readonly string[] | 'full' | 'late' | undefined {
  return String(reply) === 'late' ? 'late' : decodeUnion(reply)
}
