import type { CommandRunner } from './commands/command-runner.ts'
import { type Primary, primariesOf } from './commands/primaries.ts'

/** About how many keys one step of a scan looks at. */
export const SCAN_COUNT = 500

/** The names of all keys that match, step by step and each at least once, from every primary; a step may find none. */
export async function* scanKeys(commands: CommandRunner, pattern: string): AsyncIterable<readonly string[]> {
  for (const primary of await primariesOf(commands)) yield* keysOn(commands, primary, pattern)
}

/** How many keys the servers have, of whatever program. */
export async function countKeys(commands: CommandRunner): Promise<number> {
  const counts = (await primariesOf(commands)).map((primary) =>
    commands.read({
      to: primary,
      send: async (client) => (await primary.connection(client)).callBuffer('info', 'keyspace'),
      decode: (reply) =>
        [...String(reply).matchAll(/:keys=(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0),
    }),
  )
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
}

async function* keysOn(
  commands: CommandRunner,
  primary: Primary,
  pattern: string,
): AsyncIterable<readonly string[]> {
  let cursor = '0'
  do {
    const scan = [cursor, 'match', pattern, 'count', SCAN_COUNT]
    const page = await commands.read({
      to: primary,
      send: async (client) => (await primary.connection(client)).callBuffer('scan', ...scan),
      decode: decodeScan,
    })
    yield page.keys
    cursor = page.cursor
  } while (cursor !== '0')
}

function decodeScan(reply: unknown): { cursor: string; keys: string[] } | undefined {
  if (!Array.isArray(reply)) return undefined
  const [cursor, keys] = reply as readonly unknown[]
  return Array.isArray(keys) ? { cursor: String(cursor), keys: keys.map(String) } : undefined
}
