import { createHash } from 'node:crypto'
import type { Attempt, Command } from '../commands/command-runner.ts'
import type { CommandArgument, CommandSender } from '../connection/client.ts'

type Arguments = readonly CommandArgument[]

export interface Script {
  /** The command that runs it. The keys share a slot. */
  command<Value>(keys: readonly string[], args: Arguments, decode: Command<Value>['decode']): Command<Value>
  /** Sends it by its digest, and in full only to a server that does not know it, if its reply is still awaited. */
  send(
    sender: CommandSender,
    call: readonly [numberOfKeys: number, ...keysAndArguments: Arguments],
    attempt?: Pick<Attempt, 'isAwaited'>,
  ): Promise<unknown>
}

export function defineScript(lua: string): Script {
  const source = lua.trim()
  const digest = createHash('sha1').update(source).digest('hex')
  const script: Script = {
    command(keys, args, decode) {
      const call = [keys.length, ...keys, ...args] as const
      return { to: { key: keys[0] }, send: (client, attempt) => script.send(client, call, attempt), decode }
    },
    send: (sender, call, attempt) =>
      sender.callBuffer('evalsha', digest, ...call).catch((error: unknown) => {
        // Sent after its caller gave up, the second half of one call would land behind later calls.
        if (!isNoScript(error) || attempt?.isAwaited === false) throw error
        return sender.callBuffer('eval', source, ...call)
      }),
  }
  return script
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}
