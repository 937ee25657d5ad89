import { createHash } from 'node:crypto'
import type { CommandArgument, CommandRunner } from '../connection/client.ts'

export interface ScriptCall {
  readonly keys: readonly string[]
  readonly args: readonly CommandArgument[]
  /** Whether somebody still waits for the reply. */
  readonly isAwaited: () => boolean
}

export interface Script {
  run(runner: CommandRunner, call: ScriptCall): Promise<unknown>
}

/** A script that is sent by its digest, and in full only to a server that does not know it. */
export function defineScript(lua: string): Script {
  const source = lua.trim()
  const digest = createHash('sha1').update(source).digest('hex')
  return {
    async run(runner, { keys, args, isAwaited }) {
      try {
        return await runner.callBuffer('evalsha', digest, keys.length, ...keys, ...args)
      } catch (error) {
        // Sent after its caller gave up, the second half of one call would land behind later calls.
        if (!isNoScript(error) || !isAwaited()) throw error
      }
      return runner.callBuffer('eval', source, keys.length, ...keys, ...args)
    },
  }
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}
