import type { CommandRunner } from '../commands/command-runner.ts'
import { defineScript } from './script.ts'

/** More bytes than any label has. Valkey cannot report the size of a member before it is read, but no larger one leaves the server. */
export const MAX_MEMBER_BYTES = 256

// Without no-writes, so that no replica, which may lag behind, runs it; therefore with allow-oom, without which a full server
// would refuse it. pcall: if only the right to PEXPIRE is missing, the labels are still returned.
const script = defineScript(/* lua */ `
#!lua flags=allow-oom
-- KEYS[1] set
-- ARGV[1] if it has less than this left, ms, or 0   ARGV[2] it gets this, ms   ARGV[3] most members to return
-- returns { members, how many, 1 if kept as long as asked or else 0, server time, ms }
-- error WRONGTYPE if KEYS[1] holds no set, CORRUPT if it has more members or too large a one
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local size = redis.call('SCARD', KEYS[1])
if size > tonumber(ARGV[3]) then return redis.error_reply('CORRUPT too many members') end
if size == 0 then return { {}, 0, 1, now } end

local members, kept, least = redis.call('SMEMBERS', KEYS[1]), 1, tonumber(ARGV[1])
local left = least > 0 and redis.pcall('PTTL', KEYS[1]) or -1
for _, member in ipairs(members) do
  if #member > ${MAX_MEMBER_BYTES} then return redis.error_reply('CORRUPT too large a member') end
end
if type(left) ~= 'number' then kept = 0 end
if kept == 1 and left >= 0 and left < least then
  kept = redis.pcall('PEXPIRE', KEYS[1], ARGV[2]) == 1 and 1 or 0
end
return { members, size, kept, now }
`)

export interface LoadLabels {
  readonly key: string
  readonly leastMs: number
  readonly targetMs: number
  readonly maxMembers: number
}

export interface LoadLabelsReply {
  readonly members: readonly string[]
  readonly isKept: boolean
  readonly nowMs: number
}

export function loadLabels(runner: CommandRunner, load: LoadLabels): Promise<LoadLabelsReply> {
  const keys = [load.key]
  const args = [load.leastMs, load.targetMs, load.maxMembers]
  return runner.read(script.command(keys, args, decode))
}

function decode(reply: unknown): LoadLabelsReply | undefined {
  if (!Array.isArray(reply)) return undefined
  const [listed, size, kept, nowMs] = reply as readonly unknown[]
  const members = decodeMembers(listed)
  if (members === undefined || members.length !== size || typeof nowMs !== 'number') return undefined
  return { members, isKept: kept === 1, nowMs }
}

/** The members, if every one is there. */
export function decodeMembers(reply: unknown): readonly string[] | undefined {
  return Array.isArray(reply) && reply.every(Buffer.isBuffer)
    ? reply.map((member) => member.toString('latin1'))
    : undefined
}
