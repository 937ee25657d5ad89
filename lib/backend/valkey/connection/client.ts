/** One argument of a command. */
export type CommandArgument = string | Buffer | number

/** What this package asks of a Valkey client. `Redis` and `Cluster` of iovalkey and of ioredis 5 and 6 have it. */
export interface ValkeyClient {
  /** Sends a command; replies come as Buffers, numbers, arrays and null. */
  callBuffer(command: string, ...args: (string | Buffer | number)[]): Promise<unknown>
  /** `ready` when commands can be sent, `end` when it will never connect again, `wait` before the first connection. */
  readonly status: string
  connect(): Promise<unknown>
  /** Disconnects; with `reconnect` it connects again by its own strategy. */
  disconnect(reconnect?: boolean): void
  on(event: string, listener: (error: Error) => void): unknown
  off(event: string, listener: (error: Error) => void): unknown
  /** Of one server only: the socket, once there is one. */
  readonly stream?:
    | {
        readonly writableCorked?: number
        setMaxListeners(count: number): unknown
        cork?(): void
        uncork?(): void
        on(event: 'error', listener: () => void): unknown
        off(event: 'error', listener: () => void): unknown
      }
    | undefined
  /** Returns the nodes it has connections to; of a cluster only. */
  nodes?(role: 'master' | 'all'): readonly {
    callBuffer(command: string, ...args: (string | Buffer | number)[]): Promise<unknown>
    readonly options: { readonly host?: string | undefined; readonly port?: number | undefined }
  }[]
  /** Of a cluster only: for each slot the `host:port` of the nodes that serve it, the primary first. */
  readonly slots?: readonly (readonly string[])[]
  /** Loads which node serves which slot; of a cluster only. */
  refreshSlotsCache?(done?: () => void): void
}

/** What can run a command: a client, or one node of a cluster. */
export type CommandSender = Pick<ValkeyClient, 'callBuffer'>

/** A connection to one node of a cluster. */
export type ClusterNode = ReturnType<NonNullable<ValkeyClient['nodes']>>[number]

/** What a further connection has of its own. Everything else is as in the connection it is a duplicate of. */
export interface DuplicateOptions {
  readonly lazyConnect: boolean
  readonly connectTimeout: number
  readonly autoResubscribe: boolean
  readonly failoverDetector: boolean
  retryStrategy(): null
  sentinelRetryStrategy(): null
}

/** What can open another connection to where it is connected: a client, or one node of a cluster. */
export interface DuplicableRunner extends CommandSender {
  duplicate(options: DuplicateOptions): SecondConnection
}

type Socket = NonNullable<ValkeyClient['stream']>

/** What has one socket at a time, and says when it has connected or failed. */
interface SocketOwner {
  readonly stream?: Socket | undefined
  on(event: 'connect' | 'error', listener: () => void): unknown
}

/** A further connection. */
export interface SecondConnection extends CommandSender {
  connect(): Promise<unknown>
  disconnect(): void
  readonly stream?: Socket | undefined
  subscribe(channel: string): Promise<unknown>
  ping(): Promise<unknown>
  on(event: 'message', listener: (channel: string, message: string) => void): unknown
  on(event: 'connect' | 'end' | 'error', listener: () => void): unknown
}

export function isDuplicable(runner: CommandSender): runner is DuplicableRunner {
  return 'duplicate' in runner && typeof runner.duplicate === 'function'
}

/** Opens a connection that ends when it is lost: by itself it would come back to the same node, and not say that it had been away. */
export function duplicateOnce(runner: DuplicableRunner, connectTimeoutMs: number): SecondConnection {
  const connection = runner.duplicate({
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    autoResubscribe: false,
    failoverDetector: false,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
  })
  outliveErrors(connection)
  return connection
}

/**
 * Keeps the errors of a client's socket from ending the process, and the client from printing them. Clients listen for
 * the first error of a socket alone, and one of TLS has a second: the server's alert, after its certificate was refused
 * or its client left during the handshake.
 */
export function outliveErrors(owner: SocketOwner): void {
  const listen = () => {
    owner.stream?.off('error', ignore)
    owner.stream?.on('error', ignore)
  }
  owner.on('connect', listen)
  owner.on('error', listen)
}

export function isSocketOwner(value: object): value is SocketOwner {
  return 'on' in value && typeof value.on === 'function'
}

function ignore(): void {}

const SLOTS = 16_384
const POLYNOMIAL = 0x1021

/** The cluster slot of a key: CRC-16/XMODEM of its hash tag, or of the whole key where it has none (Valkey Cluster specification). */
export function slotOf(key: string): number {
  let crc = 0
  for (const byte of Buffer.from(hashTagOf(key))) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ POLYNOMIAL : crc << 1
  }
  return (crc & 0xffff) % SLOTS
}

/** What stands between the first `{` and the first `}` after it, or the key itself if nothing does. */
function hashTagOf(key: string): string {
  const start = key.indexOf('{') + 1
  const end = start === 0 ? -1 : key.indexOf('}', start)
  return end > start ? key.slice(start, end) : key
}

/** The address of the primary that serves a key, as the client knows it; `undefined` where there is one server only. */
export function addressFor({ slots }: ValkeyClient, key: string): string | undefined {
  return slots?.[slotOf(key)]?.[0]
}

/** The addresses of all primaries of a cluster, as the client knows them. */
export function primaryAddresses({ slots = [] }: ValkeyClient): ReadonlySet<string> {
  const addresses = new Set<string>()
  for (const [primary] of Object.values(slots)) if (primary !== undefined) addresses.add(primary)
  return addresses
}

/** The connection to the primary at an address, if there is one. */
export function primaryAt(client: ValkeyClient, address: string | undefined): ClusterNode | undefined {
  return client.nodes?.('master').find(({ options }) => `${options.host}:${options.port}` === address)
}

/**
 * Lets everything that is sent before the next tick leave in one write, which costs as much as one command alone. The
 * order stays as it is, also of what others send on the same client.
 */
export function sendTogether({ stream }: ValkeyClient): void {
  if (stream?.cork === undefined || stream.writableCorked !== 0) return
  stream.cork()
  process.nextTick(uncork, stream)
}

function uncork(socket: Socket): void {
  socket.uncork?.()
}
