import { Patience } from '../../patience.ts'
import { PAGE_SIZE } from '../registry.ts'
import type { CommandSender, SecondConnection, ValkeyClient } from './connection/client.ts'
import { addressFor, duplicateOnce, isDuplicable, primaryAt } from './connection/client.ts'
import { stampKey } from './scripts/stamp-key.ts'

export interface ConfirmationOptions {
  readonly client: ValkeyClient
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
}

export interface Confirmation {
  readonly keys: readonly string[]
  readonly replicas: number
  readonly timeoutMs: number
}

/**
 * How many replicas certainly have these keys as they are now; of several primaries the least. 0 if that cannot be
 * found out. Never rejects.
 *
 * WAIT is sent on a connection of its own, as it holds up everything behind it, to the very node that has the key,
 * as a cluster client sends it to any, and outside of scripts and transactions, where it does not wait.
 */
export async function confirmReplicas(options: ConfirmationOptions, wanted: Confirmation): Promise<number> {
  const groups = groupByPrimary(options.client, wanted.keys)
  if (groups === undefined) return 0
  const counts = await Promise.all(
    [...groups].map(([primary, keys]) => confirmOn(primary, options, { ...wanted, keys })),
  )
  return Math.min(...counts)
}

type Groups = ReadonlyMap<CommandSender, readonly string[]>

/** `undefined` if a primary is not known. */
function groupByPrimary(client: ValkeyClient, keys: readonly string[]): Groups | undefined {
  const groups = new Map<CommandSender, string[]>()
  for (const key of keys) {
    const primary = primaryOf(client, key)
    if (primary === undefined) return undefined
    const group = groups.get(primary)
    if (group) group.push(key)
    else groups.set(primary, [key])
  }
  return groups
}

function primaryOf(client: ValkeyClient, key: string): CommandSender | undefined {
  if (client.slots === undefined || client.nodes === undefined) return client
  return primaryAt(client, addressFor(client, key))
}

async function confirmOn(
  primary: CommandSender,
  { connectTimeoutMs, commandTimeoutMs }: ConfirmationOptions,
  { keys, replicas, timeoutMs }: Confirmation,
): Promise<number> {
  if (!isDuplicable(primary)) return 0
  const longestMs = commandTimeoutMs + timeoutMs
  const connection = duplicateOnce(primary, connectTimeoutMs)
  const limitMs = connectTimeoutMs + commandTimeoutMs + longestMs
  const patience = new Patience(limitMs, () => connection.disconnect())
  try {
    await connection.connect()
    return await waitFor(connection, keys, [replicas, timeoutMs])
  } catch {
    return 0
  } finally {
    patience.end()
    connection.disconnect()
  }
}

async function waitFor(
  connection: SecondConnection,
  keys: readonly string[],
  terms: readonly [replicas: number, timeoutMs: number],
): Promise<number> {
  for (let start = 0; start < keys.length; start += PAGE_SIZE) {
    const page = keys.slice(start, start + PAGE_SIZE)
    const stamps = await Promise.all(page.map((key) => stampKey(connection, key)))
    if (!stamps.every(Boolean)) return 0
  }
  const acknowledged = await connection.callBuffer('wait', ...terms)
  return typeof acknowledged === 'number' ? acknowledged : 0
}
