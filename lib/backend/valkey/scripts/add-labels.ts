import type { CommandRunner } from '../commands/command-runner.ts'
import { decodeMembers, MAX_MEMBER_BYTES } from './load-labels.ts'
import { defineScript } from './script.ts'

// One script: a set without its expiry would outlive, or with a shorter one die before, what it belongs to. Every
// check comes before the first write, as an error rolls nothing back. Without allow-oom: a full server refuses it whole.
const script = defineScript(/* lua */ `
#!lua
-- KEYS[1] set
-- ARGV[1] if it has less than this left, ms, or 0   ARGV[2] it gets this, ms   ARGV[3] most distinct labels
-- ARGV[4] 'all', or 'unmarked' to spare labels that have a mark
-- ARGV[5...] labels, and marks, '!', 22 characters, label, which count only if neither label nor mark is there
-- returns { members after it, how many }, or 'full'; error WRONGTYPE if KEYS[1] holds no set, CORRUPT if it or a member is too large
local size = redis.call('SCARD', KEYS[1])
if size > tonumber(ARGV[3]) then return redis.error_reply('CORRUPT too many members') end
local stands = {}
for _, member in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if #member > ${MAX_MEMBER_BYTES} then return redis.error_reply('CORRUPT too large a member') end
  stands[member:sub(1, 1) == '!' and member:sub(24) or member] = member
end

local added, lifted = {}, {}
for index = 5, #ARGV do
  local isMark = ARGV[index]:sub(1, 1) == '!'
  local name = isMark and ARGV[index]:sub(24) or ARGV[index]
  local member = stands[name]
  local lifts = member and member ~= name and not isMark and ARGV[4] == 'all'
  if not member then size = size + 1 end
  if lifts then table.insert(lifted, member) end
  if lifts or not member then table.insert(added, ARGV[index]) end
end
if size > tonumber(ARGV[3]) then return 'full' end

-- Removes nothing, and so shows a missing right before anything is written.
if #lifted > 0 then redis.call('SREM', KEYS[1], '') end
-- Not PEXPIRE with GT: it takes a key without an expiry, as a new one is, for one that has more.
local least, left = tonumber(ARGV[1]), redis.call('PTTL', KEYS[1])
if #added > 0 then redis.call('SADD', KEYS[1], unpack(added)) end
if #lifted > 0 then redis.call('SREM', KEYS[1], unpack(lifted)) end
if least > 0 and left ~= -1 and left < least then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local members = redis.call('SMEMBERS', KEYS[1])
return { members, #members }
`)

export interface AddLabels {
  readonly key: string
  readonly labels: readonly string[]
  readonly marks: readonly string[]
  readonly sparesMarked: boolean
  readonly leastMs: number
  readonly targetMs: number
  readonly maxLabels: number
}

export function addLabels(runner: CommandRunner, add: AddLabels): Promise<readonly string[] | 'full'> {
  const keys = [add.key]
  const args = [
    add.leastMs,
    add.targetMs,
    add.maxLabels,
    add.sparesMarked ? 'unmarked' : 'all',
    ...add.labels,
  ]
  return runner.write(script.command(keys, args, decodeUnion))
}

export function decodeUnion(reply: unknown): readonly string[] | 'full' | undefined {
  if (String(reply) === 'full') return 'full'
  if (!Array.isArray(reply)) return undefined
  const members = decodeMembers(reply[0])
  return members?.length === reply[1] ? members : undefined
}
