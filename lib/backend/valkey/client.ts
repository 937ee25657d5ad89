/** One argument of a command. */
export type CommandArgument = string | Buffer | number

/** What can run a command: a client, or one node of a cluster. */
export interface CommandRunner {
  /** Sends a command; replies come as Buffers, numbers, arrays and null. */
  callBuffer(command: string, ...args: CommandArgument[]): Promise<unknown>
}

/** What this package asks of a Valkey client. `Redis` and `Cluster` of iovalkey and of ioredis 5 have it. */
export interface ValkeyClient extends CommandRunner {
  /** `ready` when commands can be sent, `end` when it will never connect again, `wait` before the first connection. */
  readonly status: string
  connect(): Promise<unknown>
  disconnect(): void
  on(event: string, listener: (error: Error) => void): unknown
  off(event: string, listener: (error: Error) => void): unknown
  /** Cluster only: one runner per primary. */
  nodes?(role: 'master'): readonly CommandRunner[]
  /** Cluster only: learns anew which node serves which slot. */
  refreshSlotsCache?(): void
}
