import type { CommandSender } from '../connection/client.ts'
import { defineScript } from './script.ts'

// WAIT reports how far replicas are with the writes of its own connection, and one without a write of its own gets
// that all of them have it. allow-oom: it must work where an ending does.
const script = defineScript(/* lua */ `
#!lua flags=allow-oom
-- KEYS[1] what must have reached the replicas
-- writes the expiry that the key has anyway; returns 1, or 0 if there is no such key, or none that expires
local at = redis.call('PEXPIRETIME', KEYS[1])
if at < 0 then return 0 end
redis.call('PEXPIREAT', KEYS[1], at)
return 1
`)

/** Returns whether the key exists; if so, the connection has written something after whatever wrote the key. */
export async function stampKey(sender: CommandSender, key: string): Promise<boolean> {
  return (await script.send(sender, [1, key])) === 1
}
