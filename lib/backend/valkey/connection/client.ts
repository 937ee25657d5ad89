/** One argument of a command. */
export type CommandArgument = string | Buffer | number

/** What can run a command: a client, or one node of a cluster. */
export interface CommandRunner {
  /** Sends a command; replies come as Buffers, numbers, arrays and null. */
  callBuffer(command: string, ...args: (string | Buffer | number)[]): Promise<unknown>
}

/** A connection to one node of a cluster. */
export interface ClusterNode extends CommandRunner {
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined }
}

/** What this package asks of a Valkey client. `Redis` and `Cluster` of iovalkey and of ioredis 5 and 6 have it. */
export interface ValkeyClient extends CommandRunner {
  /** `ready` when commands can be sent, `end` when it will never connect again, `wait` before the first connection. */
  readonly status: string
  connect(): Promise<unknown>
  /** With `reconnect` it connects again by its own strategy. */
  disconnect(reconnect?: boolean): void
  on(event: string, listener: (error: Error) => void): unknown
  off(event: string, listener: (error: Error) => void): unknown
  /** Of one server only: the socket, once there is one. */
  readonly stream?: { setMaxListeners(count: number): unknown } | undefined
  /** Cluster only: the primaries it has connections to. */
  nodes?(role: 'master'): readonly ClusterNode[]
  /** Cluster only: for each slot the `host:port` of the nodes that serve it, the primary first. */
  readonly slots?: readonly (readonly string[])[]
  /** Cluster only: learns anew which node serves which slot. */
  refreshSlotsCache?(done?: () => void): void
}

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
export interface DuplicableRunner extends CommandRunner {
  duplicate(options: DuplicateOptions): SecondConnection
}

/** A further connection. */
export interface SecondConnection extends CommandRunner {
  connect(): Promise<unknown>
  disconnect(): void
  subscribe(channel: string): Promise<unknown>
  ping(): Promise<unknown>
  on(event: 'message', listener: (channel: string, message: string) => void): unknown
  on(event: 'end', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

export function isDuplicable(runner: CommandRunner): runner is DuplicableRunner {
  return 'duplicate' in runner && typeof runner.duplicate === 'function'
}

/** For a connection that ends when it is lost: by itself it would come back to the same node, and not say that it had been away. */
export function onceOnly(connectTimeoutMs: number): DuplicateOptions {
  return {
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    autoResubscribe: false,
    failoverDetector: false,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
  }
}
