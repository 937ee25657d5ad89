import type { Redis } from 'iovalkey'

// What a count itself and a client's connecting cost the server.
const OURS = new Set([
  'info',
  'client|setinfo',
  'client|setname',
  'config|resetstat',
  'command',
  'hello',
  'select',
])

/** How often the server has run each command since it started, scripts' own commands included, by lower-case name. */
export async function commandCounts(client: Redis): Promise<Map<string, number>> {
  const lines = (await client.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)
  const counts = [...lines].map(([, name = '', calls]) => [name, Number(calls)] as const)
  return new Map(counts.filter(([name]) => !OURS.has(name)))
}

/** What the server ran while some work was done, as `{ get: 2 }`. Nobody else may use that server meanwhile. */
export async function countCommands(
  client: Redis,
  work: () => Promise<unknown>,
): Promise<Record<string, number>> {
  const before = await commandCounts(client)
  await work()
  const after = await commandCounts(client)
  const more = [...after].map(([name, calls]) => [name, calls - (before.get(name) ?? 0)] as const)
  return Object.fromEntries(more.filter(([, calls]) => calls > 0))
}
