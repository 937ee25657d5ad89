import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { CommandSender, ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import {
  createValkeyClient,
  type ValkeyConnection,
} from '../../../lib/backend/valkey/connection/connection.ts'
import { ValkeyBackend, type ValkeyBackendOptions } from '../../../lib/backend/valkey/valkey-backend.ts'
import type { ValkeyCluster } from '../../support/valkey.ts'
import type { Subject } from '../contract/subject.ts'

export const timing = { connectTimeoutMs: 2000, commandTimeoutMs: 3000 }

export function newPrefix(): string {
  return `t${randomBytes(6).toString('hex')}`
}

/** A backend with a prefix of its own, time limits that a busy machine keeps, and nothing that answers for the server. */
export function openBackend(client: ValkeyClient, more: Partial<ValkeyBackendOptions> = {}): ValkeyBackend {
  return new ValkeyBackend({
    client,
    prefix: newPrefix(),
    maxBlobBytes: 65_536,
    breaker: false,
    ...timing,
    ...more,
  })
}

export function openClient(connection: ValkeyConnection): ValkeyClient {
  return createValkeyClient(connection, timing)
}

/** A client to send commands on directly, which keeps no queue for the time before it is connected. */
export async function openReadyClient(connection: ValkeyConnection): Promise<ValkeyClient> {
  const client = openClient(connection)
  await openBackend(client).ping()
  return client
}

/** Its backend passes time by waiting until the server's clock is there. */
export function subjectOn(client: ValkeyClient): Subject {
  return { backend: openBackend(client), passTo: (timeMs) => passTo(client, timeMs) }
}

export async function passTo(runner: CommandSender, timeMs: number): Promise<void> {
  while ((await serverMs(runner)) <= timeMs) await delay(5)
}

export async function serverMs(runner: CommandSender): Promise<number> {
  const [seconds, micros] = (await runner.callBuffer('time')) as [Buffer, Buffer]
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
}

/** How often the server ran each command since `CONFIG RESETSTAT`. */
export async function commandCounts(runner: CommandSender): Promise<Map<string, number>> {
  const info = String(await runner.callBuffer('info', 'commandstats'))
  const lines = info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)
  return new Map([...lines].map(([, name = '', calls]) => [name, Number(calls)]))
}

/** The rights that the ACL user in docs/VALKEY.md has, without their plus signs. */
export function documentedRights(): string[] {
  const page = readFileSync(new URL('../../../docs/VALKEY.md', import.meta.url), 'utf8')
  const command = /^ACL SETUSER [\s\S]*?(?=^```)/m.exec(page)?.[0] ?? ''
  return [...command.matchAll(/\+([a-z|]+)/g)].map(([, right = '']) => right)
}

export const leastUser = { username: 'least', password: 'only-for-this-test' }

/** Connects to a cluster as a user who may do no more than docs/VALKEY.md says, on the keys of this folder's tests, whose prefixes begin with t. */
export async function openLeastClient(cluster: ValkeyCluster): Promise<ValkeyClient> {
  const rights = [...documentedRights(), 'cluster|slots', 'cluster|info'].map((right) => `+${right}`)
  const keys = ['r', 'e', 'o', 'x', 'p', 's', 'd', 'u', 'k'].map((letter) => `~t*:${letter}:*`)
  const { username, password } = leastUser
  for (const node of cluster.nodes) {
    const user = ['reset', 'on', `>${password}`, 'resetchannels', '&t*:n', ...keys, '-@all', ...rights]
    await node.client().call('acl', 'setuser', username, ...user)
  }
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }))
  return openReadyClient({ nodes, ...leastUser })
}
