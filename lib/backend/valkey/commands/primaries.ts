import type { CommandSender, ValkeyClient } from '../connection/client.ts'
import { primaryAddresses, primaryAt } from '../connection/client.ts'
import type { Command, CommandRunner } from './command-runner.ts'

/** One server, or one primary of a cluster. */
export interface Primary {
  /** Of one of several. */
  readonly address: string | undefined
  /** Finds the connection to it, anew for each attempt, as it may have been replaced. */
  connection(client: ValkeyClient): Promise<CommandSender>
}

/** Everything that has to be asked to see all keys: the one server, or every primary of a cluster. */
export function primariesOf(commands: CommandRunner): Promise<readonly Primary[]> {
  let primaries: readonly Primary[] | undefined
  const send = async (client: ValkeyClient) => {
    primaries = listPrimaries(client)
  }
  return commands.read({ to: undefined, send, decode: () => primaries })
}

/** Asks every primary, and returns what the first of them replies. */
export async function askAnyPrimary<Value>(
  commands: CommandRunner,
  command: string,
  decode: Command<Value>['decode'],
): Promise<Value> {
  const asked = (await primariesOf(commands)).map((primary) =>
    commands.read({
      to: primary,
      send: async (client) => (await primary.connection(client)).callBuffer(command),
      decode,
    }),
  )
  try {
    return await Promise.any(asked)
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error
  }
}

// From the slots, not from the connections: a primary whose connection closed would be passed over.
function listPrimaries(client: ValkeyClient): readonly Primary[] {
  if (client.slots === undefined) return [{ address: undefined, connection: async (client) => client }]
  const addresses = primaryAddresses(client)
  if (addresses.size === 0) throw new Error('CLUSTERDOWN The client knows of no primary')
  return [...addresses].map((address) => ({ address, connection: (client) => connectionTo(address, client) }))
}

async function connectionTo(address: string, client: ValkeyClient): Promise<CommandSender> {
  const runner = primaryAt(client, address)
  if (runner !== undefined) return runner
  await new Promise<void>((resolve) => {
    if (client.refreshSlotsCache === undefined) resolve()
    else client.refreshSlotsCache(resolve)
  })
  const reconnected = primaryAt(client, address)
  if (reconnected !== undefined) return reconnected
  throw new Error('CLUSTERDOWN The client is not connected to every primary')
}
