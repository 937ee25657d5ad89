import type { CommandRunner } from '../commands/command-runner.ts'
import { defineScript } from './script.ts'

const MAX_MARKS = 100
// Of 16 key ids.
const MAX_MARK_BYTES = 271

// One script: of two who come at once, the second sees the first.
const script = defineScript(/* lua */ `
#!lua
-- KEYS[1] marks, by when they were last left, ms
-- ARGV[1] mark to leave, or '' for none   ARGV[2] how long marks stand, ms
-- returns { server time, ms, marks, newest first }; error WRONGTYPE if KEYS[1] holds no sorted set
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = string.format('%.0f', now - tonumber(ARGV[2]))
-- Never so many but by somebody else's hand.
if redis.call('ZCARD', KEYS[1]) > ${10 * MAX_MARKS} then redis.call('UNLINK', KEYS[1]) end
for _, old in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', '(' .. since, 'BYSCORE', 'LIMIT', 0, ${MAX_MARKS})) do
  redis.call('ZREM', KEYS[1], old)
end
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])))
end
local marks = {}
for _, mark in ipairs(redis.call('ZRANGE', KEYS[1], '+inf', since, 'BYSCORE', 'REV', 'LIMIT', 0, ${MAX_MARKS})) do
  if #mark <= ${MAX_MARK_BYTES} then table.insert(marks, mark) end
end
return { now, marks }
`)

export interface MarkPrefix {
  readonly key: string
  /** Left by who calls; none to look only. */
  readonly mark: string
  readonly keepMs: number
}

/** Returns all marks. */
export function markPrefix(runner: CommandRunner, { key, mark, keepMs }: MarkPrefix): Promise<string[]> {
  return runner.write(script.command([key], [mark, keepMs], decode))
}

function decode(reply: unknown): string[] | undefined {
  const marks: unknown = Array.isArray(reply) ? reply[1] : undefined
  return Array.isArray(marks) ? marks.map(String) : undefined
}
