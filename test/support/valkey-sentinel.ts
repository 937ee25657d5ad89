import { Redis, type RedisOptions } from 'iovalkey'
import { until } from './until.ts'
import { ValkeyServer } from './valkey-server.ts'

export interface SentinelLayout {
  /** The name the sentinels know the primary by. @defaultValue 'main' */
  readonly name?: string
  /** After how long without an answer a sentinel holds the primary for dead, in ms. @defaultValue 800 */
  readonly downAfterMs?: number
  /** @defaultValue 6000 */
  readonly failoverTimeoutMs?: number
}

export interface ValkeySentinels {
  readonly name: string
  readonly primary: ValkeyServer
  readonly replica: ValkeyServer
  readonly sentinels: readonly ValkeyServer[]
  /** Where the sentinels listen, as clients want it. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[]
  /** The port of the one that the sentinels now hold for the primary. */
  primaryPort(): Promise<number>
  /** A client that follows the primary; it is disconnected when all is stopped. */
  client(options?: RedisOptions): Redis
  stop(): Promise<void>
}

const SENTINELS = 3
const QUORUM = 2
const READY_WITHIN_MS = 60_000

/** A primary, its replica and three sentinels of our own, all of which know each other. */
export async function startSentinels(layout: SentinelLayout = {}): Promise<ValkeySentinels> {
  const { name = 'main' } = layout
  const started: ValkeyServer[] = []
  const clients: Redis[] = []
  const start = async (...options: Parameters<typeof ValkeyServer.start>): Promise<ValkeyServer> => {
    const server = await ValkeyServer.start(...options)
    started.push(server)
    return server
  }
  const stop = async (): Promise<void> => {
    for (const client of clients) client.disconnect()
    await Promise.all(started.map((server) => server.stop()))
  }
  try {
    const { primary, replica } = await startPair(start)
    const config = configOf(name, primary, layout)
    const sentinels = await Promise.all(
      Array.from({ length: SENTINELS }, () => start({ config, args: ['--sentinel'] })),
    )
    const admins = sentinels.map((sentinel) => sentinel.client())
    await untilReady(admins, name)
    const addresses = sentinels.map(({ host, port }) => ({ host, port }))
    const client = (options: RedisOptions = {}): Redis => {
      const follower = new Redis({ sentinels: addresses, name, ...options })
      follower.on('error', () => undefined)
      clients.push(follower)
      return follower
    }
    const primaryPort = (): Promise<number> => agreedPort(admins, name)
    return { name, primary, replica, sentinels, addresses, primaryPort, client, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

type Start = typeof ValkeyServer.start

async function startPair(start: Start): Promise<{ primary: ValkeyServer; replica: ValkeyServer }> {
  const primary = await start({ args: ['--repl-diskless-sync-delay', '0'] })
  const replica = await start({
    args: ['--replicaof', primary.host, String(primary.port), '--repl-diskless-sync-delay', '0'],
  })
  const admin = replica.client()
  await until(async () => (await admin.info('replication')).includes('master_link_status:up'), {
    withinMs: READY_WITHIN_MS,
    what: 'the replica is in step',
  })
  admin.disconnect()
  return { primary, replica }
}

function configOf(
  name: string,
  primary: ValkeyServer,
  { downAfterMs = 800, failoverTimeoutMs = 6000 }: SentinelLayout,
): string {
  return [
    `sentinel monitor ${name} ${primary.host} ${primary.port} ${QUORUM}`,
    `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
    `sentinel failover-timeout ${name} ${failoverTimeoutMs}`,
    `sentinel parallel-syncs ${name} 1`,
    '',
  ].join('\n')
}

async function untilReady(admins: readonly Redis[], name: string): Promise<void> {
  const knowsAll = async (admin: Redis): Promise<boolean> => {
    const facts = await primaryFacts(admin, name)
    return (
      facts.get('num-other-sentinels') === String(SENTINELS - 1) &&
      facts.get('num-slaves') === '1' &&
      facts.get('flags') === 'master'
    )
  }
  await until(async () => (await Promise.all(admins.map(knowsAll))).every(Boolean), {
    withinMs: READY_WITHIN_MS,
    everyMs: 50,
    what: 'the sentinels know each other and the replica',
  })
}

async function agreedPort(admins: readonly Redis[], name: string): Promise<number> {
  const answers = await Promise.all(
    admins.map((admin) => admin.call('sentinel', 'get-master-addr-by-name', name)),
  )
  const ports = new Set(answers.map((answer) => Number(Array.isArray(answer) ? answer[1] : undefined)))
  const [port = Number.NaN] = ports
  return ports.size === 1 ? port : Number.NaN
}

async function primaryFacts(admin: Redis, name: string): Promise<Map<string, string>> {
  const reply = await admin.call('sentinel', 'master', name)
  const flat = Array.isArray(reply) ? reply.map(String) : []
  return new Map(
    flat.flatMap((word, index) => (index % 2 === 0 ? [[word, flat[index + 1] ?? ''] as const] : [])),
  )
}
