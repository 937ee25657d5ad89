import type { Raising, Roster } from '../../registry.ts'
import type { CommandRunner } from '../commands/command-runner.ts'
import type { RegistryKeys } from '../keys.ts'
import { defineRegistryScript } from './registry-script.ts'
import { decodeRoster, returnRoster } from './roster.ts'

// One script: who is enrolled before it is on the roster, who is enrolled after it has the new epoch.
// allow-oom: a full server must not keep anybody signed in.
const script = defineRegistryScript(
  'allow-oom',
  /* lua */ `
-- ARGV[1] epoch to raise to, or 0   ARGV[2] how long it stands, ms
if ARGV[1] == '0' then epoch = math.max(epoch + 1, micros) else epoch = math.max(epoch, tonumber(ARGV[1])) end
redis.call('HSET', state, 'epoch', digits(epoch))
keepUntil(now + tonumber(ARGV[2]))
${returnRoster}
return page('+inf', true)
`,
)

export function raise(runner: CommandRunner, keys: RegistryKeys, raising: Raising): Promise<Roster> {
  const args = [raising.epoch ?? 0, raising.keepMs]
  return runner.write(script.command(keys, args, decodeRoster))
}
