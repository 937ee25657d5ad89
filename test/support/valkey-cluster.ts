import { Cluster, type ClusterOptions, type Redis } from 'iovalkey'
import { until } from './until.ts'
import { ValkeyServer } from './valkey-server.ts'

export interface ClusterLayout {
  /** @defaultValue 3 */
  readonly primaries?: number
  /** Replicas of each primary. @defaultValue 0 */
  readonly replicas?: 0 | 1
  readonly args?: readonly string[]
}

export interface ValkeyCluster {
  /** All of them, the primaries first; `replicas[i]` began as the replica of `primaries[i]`. */
  readonly nodes: readonly ValkeyServer[]
  readonly primaries: readonly ValkeyServer[]
  readonly replicas: readonly ValkeyServer[]
  /** A client that is disconnected when the cluster is stopped. */
  client(options?: ClusterOptions): Cluster
  stop(): Promise<void>
}

const SLOTS = 16_384
const NODE_ARGS = [
  '--cluster-enabled',
  'yes',
  '--cluster-node-timeout',
  '1500',
  '--repl-diskless-sync-delay',
  '0',
]
const READY_WITHIN_MS = 60_000

interface Node {
  readonly server: ValkeyServer
  readonly admin: Redis
}

/** A Valkey cluster of our own, ready for commands, its replicas in step. */
export async function startCluster(layout: ClusterLayout = {}): Promise<ValkeyCluster> {
  const { primaries = 3, replicas = 0, args = [] } = layout
  const count = primaries * (1 + replicas)
  const nodes = await startAll(count, [...NODE_ARGS, ...args])
  const clients = new Set<Cluster>()
  const stop = async (): Promise<void> => {
    for (const client of clients) client.disconnect()
    await Promise.all(nodes.map(({ server }) => server.stop()))
  }
  try {
    await join(nodes, primaries)
  } catch (error) {
    await stop()
    throw error
  }
  const servers = nodes.map(({ server }) => server)
  return {
    nodes: servers,
    primaries: servers.slice(0, primaries),
    replicas: servers.slice(primaries),
    client: (options) => {
      const client = new Cluster(
        servers.map(({ host, port }) => ({ host, port })),
        options,
      )
      client.on('error', () => undefined)
      clients.add(client)
      return client
    },
    stop,
  }
}

async function startAll(count: number, args: readonly string[]): Promise<Node[]> {
  const started = await Promise.allSettled(Array.from({ length: count }, () => ValkeyServer.start({ args })))
  const servers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failure = started.find((result) => result.status === 'rejected')
  if (failure !== undefined) {
    await Promise.all(servers.map((server) => server.stop()))
    throw failure.reason
  }
  return servers.map((server) => ({ server, admin: server.client() }))
}

async function join(nodes: readonly Node[], primaries: number): Promise<void> {
  await Promise.all(nodes.map(({ admin }, index) => admin.call('cluster', 'set-config-epoch', index + 1)))
  await Promise.all(
    nodes
      .slice(0, primaries)
      .map(({ admin }, index) => admin.call('cluster', 'addslotsrange', ...slots(index, primaries))),
  )
  await meet(nodes)
  await Promise.all(nodes.slice(primaries).map((node, index) => replicate(node, nodes[index % primaries])))
  await until(() => holdsFor(nodes, (node) => isReady(node, nodes.length, primaries)), {
    withinMs: READY_WITHIN_MS,
    everyMs: 50,
    what: 'the cluster is ready',
  })
  for (const { admin } of nodes) admin.disconnect()
}

function slots(index: number, primaries: number): [number, number] {
  return [Math.floor((SLOTS * index) / primaries), Math.floor((SLOTS * (index + 1)) / primaries) - 1]
}

async function meet([first, ...others]: readonly Node[]): Promise<void> {
  if (first === undefined) return
  for (const { server } of others)
    await first.admin.call('cluster', 'meet', server.host, server.port, server.busPort)
  const all = [first, ...others]
  await until(() => holdsFor(all, async (node) => (await known(node)).length === all.length), {
    withinMs: READY_WITHIN_MS,
    what: 'the nodes know each other',
  })
}

async function replicate(node: Node, primary: Node | undefined): Promise<void> {
  const id = await primary?.admin.call('cluster', 'myid')
  await node.admin.call('cluster', 'replicate', String(id))
}

async function isReady(node: Node, count: number, primaries: number): Promise<boolean> {
  const nodes = await known(node)
  const info = String(await node.admin.call('cluster', 'info'))
  const replication = await node.admin.info('replication')
  const isInStep = !replication.includes('role:slave') || replication.includes('master_link_status:up')
  const replicas = nodes.filter((line) => line.includes('slave'))
  return (
    info.includes('cluster_state:ok') &&
    nodes.length === count &&
    replicas.length === count - primaries &&
    isInStep
  )
}

/** The lines of those nodes that this node knows and has shaken hands with. */
async function known({ admin }: Node): Promise<string[]> {
  const lines = String(await admin.call('cluster', 'nodes')).split('\n')
  return lines.filter((line) => line !== '' && !/handshake|fail|noaddr/.test(line))
}

async function holdsFor(
  nodes: readonly Node[],
  condition: (node: Node) => Promise<boolean>,
): Promise<boolean> {
  const answers = await Promise.all(nodes.map(condition))
  return answers.every(Boolean)
}
