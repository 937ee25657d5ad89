import type { CommandRunner, ValkeyClient } from './client.ts'
import type { ValkeyLink } from './link.ts'

/** Finds one primary, anew for each attempt, as its connection may have been replaced. */
export type Primary = (client: ValkeyClient) => Promise<CommandRunner>

/** Everything that has to be asked to see all keys: the one server, or every primary of a cluster. */
export function primariesOf(link: ValkeyLink): Promise<readonly Primary[]> {
  let primaries: readonly Primary[] | undefined
  const send = async (client: ValkeyClient) => {
    primaries = listPrimaries(client)
  }
  return link.read({ send, decode: () => primaries })
}

// From the slots, not from the connections: a primary whose connection closed would be passed over.
function listPrimaries({ slots }: ValkeyClient): readonly Primary[] {
  if (slots === undefined) return [async (client) => client]
  const addresses = new Set<string>()
  for (const [primary] of Object.values(slots)) if (primary !== undefined) addresses.add(primary)
  if (addresses.size === 0) throw new Error('CLUSTERDOWN The client knows of no primary')
  return [...addresses].map((address) => (client) => connectionTo(address, client))
}

async function connectionTo(address: string, client: ValkeyClient): Promise<CommandRunner> {
  const runner = findRunner(address, client)
  if (runner !== undefined) return runner
  await new Promise<void>((resolve) => {
    if (client.refreshSlotsCache === undefined) resolve()
    else client.refreshSlotsCache(resolve)
  })
  const reconnected = findRunner(address, client)
  if (reconnected !== undefined) return reconnected
  throw new Error('CLUSTERDOWN The client is not connected to every primary')
}

function findRunner(address: string, client: ValkeyClient): CommandRunner | undefined {
  return client.nodes?.('master').find(({ options }) => `${options.host}:${options.port}` === address)
}
