import { CommandRunner } from '../../../lib/backend/valkey/commands/command-runner.ts'
import type { CommandSender, ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { createKeys, type RegistryKeys } from '../../../lib/backend/valkey/keys.ts'
import { ValkeyRegistry } from '../../../lib/backend/valkey/valkey-registry.ts'
import type { RegistrySubject } from '../registry/subject.ts'
import { newPrefix, serverMs, timing } from './subjects.ts'

export interface OpenedRegistry extends RegistrySubject {
  readonly keysOf: (owner: string) => RegistryKeys
}

/** `admin` may do more than the registry's own client. */
export function openRegistry(client: ValkeyClient, admin: CommandSender = client): OpenedRegistry {
  const keysOf = createKeys(newPrefix()).registry
  const commands = new CommandRunner({ client, ...timing, retries: 1 })
  return {
    registry: new ValkeyRegistry(commands, keysOf),
    keysOf,
    elapse: (owner, ms) => age(admin, keysOf(owner), ms),
    nowMs: () => serverMs(client),
    close: () => commands.close(),
  }
}

// The server's clock cannot be set. Moving every time under the keys back has the same effect as the clock going on.
const ageRegistry = `
local ms = tonumber(ARGV[1])
for index, key in ipairs(KEYS) do
  local untilMs = redis.call('PEXPIRETIME', key)
  local entries = index == 4 and redis.call('HGETALL', key) or redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for at = 1, #entries, 2 do
    local name, value = entries[at], entries[at + 1]
    if index == 2 or index == 3 or index == 6 then redis.call('ZINCRBY', key, -ms, name) end
    if index == 4 and #name == 43 then redis.call('HINCRBY', key, name, -ms) end
    if index == 5 then
      redis.call('ZREM', key, name)
      redis.call('ZADD', key, value, name:sub(1, 43) .. string.format('%013.0f', name:sub(44, 56) - ms) .. name:sub(57))
    end
  end
  if untilMs > 0 then redis.call('PEXPIREAT', key, string.format('%.0f', untilMs - ms)) end
end
`

async function age(admin: CommandSender, keys: RegistryKeys, ms: number): Promise<void> {
  await admin.callBuffer('eval', ageRegistry, keys.length, ...keys, ms)
}
