import { setTimeout as delay } from 'node:timers/promises'
import { Patience } from '../../patience.ts'
import { isDigest } from '../arguments.ts'
import type { EndNotice, NoticeListener } from '../backend.ts'
import { Notices } from '../notices.ts'
import {
  type DuplicableRunner,
  duplicateOnce,
  isDuplicable,
  type SecondConnection,
  type ValkeyClient,
} from './connection/client.ts'
import { connectionStateOf } from './connection/connection-state.ts'

const HEARTBEAT_MS = 2000
const MAX_PAUSE_MS = 2000

export interface NoticeChannelOptions {
  /** Is duplicated; its own connections stay as they are. */
  readonly client: ValkeyClient
  readonly channel: string
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  /** How often the connection is tried. Default 2000. */
  readonly heartbeatMs?: number | undefined
}

/**
 * One connection that hears of all endings, for any number of listeners. It is there while there are listeners, and
 * is opened anew, in a cluster to any node, whenever it is lost.
 */
export class NoticeChannel {
  readonly #options: NoticeChannelOptions
  readonly #notices = new Notices()
  #stop: AbortController | undefined
  #isInForce = false

  constructor(options: NoticeChannelOptions) {
    this.#options = options
  }

  /** Throws a `TypeError` if the client cannot open another connection. */
  subscribe(listener: NoticeListener): () => void {
    const { client } = this.#options
    if (client.nodes === undefined && !isDuplicable(client)) {
      throw new TypeError(
        'The Valkey client has no "duplicate" method; endings can be heard on a second connection only',
      )
    }
    const subscriber = this.#notices.add(listener)
    if (this.#isInForce) this.#notices.notifyGap(subscriber)
    if (this.#stop === undefined) this.#open()
    return () => {
      this.#notices.remove(subscriber)
      if (!this.#notices.hasListeners) this.close()
    }
  }

  /** Ends the calls to all listeners, and the connection. */
  close(): void {
    this.#notices.clear()
    this.#stop?.abort()
    this.#stop = undefined
    this.#isInForce = false
  }

  #open(): void {
    const stop = new AbortController()
    this.#stop = stop
    void this.#keepOpen(stop.signal)
  }

  async #keepOpen(stopped: AbortSignal): Promise<void> {
    for (let failures = 0; !stopped.aborted; failures += 1) {
      if (await this.#listen(stopped)) failures = 0
      // Full jitter, so that after a restart not all processes come back at once.
      await pause(Math.random() * Math.min(MAX_PAUSE_MS, 50 * 2 ** Math.min(failures, 10)), stopped)
    }
  }

  /** Whether there were notices until the connection was lost. */
  async #listen(stopped: AbortSignal): Promise<boolean> {
    const { client, connectTimeoutMs } = this.#options
    const source = this.#source()
    if (source === undefined) {
      await connectionStateOf(client).wait(connectTimeoutMs)
      return false
    }
    const connection = duplicateOnce(source, connectTimeoutMs)
    const lost = lossOf(connection, stopped)
    connection.on('message', (_channel, message) => {
      if (!lost.aborted) this.#receive(message)
    })
    const hasListened = await this.#enter(connection, lost)
    if (hasListened) await this.#watch(connection, lost)
    connection.disconnect()
    if (!stopped.aborted) this.#isInForce = false
    return hasListened
  }

  async #enter(connection: SecondConnection, lost: AbortSignal): Promise<boolean> {
    const { connectTimeoutMs, commandTimeoutMs, channel } = this.#options
    const hasConnected = await succeeds(connection.connect(), connectTimeoutMs)
    if (!hasConnected || !(await succeeds(connection.subscribe(channel), commandTimeoutMs)) || lost.aborted)
      return false
    this.#isInForce = true
    this.#notices.notifyAllGap()
    return true
  }

  // A connection that only listens looks the same when nothing happens and when the other side is gone.
  async #watch(connection: SecondConnection, lost: AbortSignal): Promise<void> {
    const { commandTimeoutMs, heartbeatMs = HEARTBEAT_MS } = this.#options
    await pause(heartbeatMs, lost)
    while (!lost.aborted && (await succeeds(connection.ping(), commandTimeoutMs)))
      await pause(heartbeatMs, lost)
  }

  #receive(message: string): void {
    const notice = decodeNotice(message)
    if (notice !== undefined) this.#notices.notify(notice)
  }

  /** In a cluster every node hears what is published on any of them. */
  #source(): DuplicableRunner | undefined {
    const { client } = this.#options
    const nodes = client.nodes?.('master') ?? [client]
    const node = nodes[Math.floor(Math.random() * nodes.length)]
    return node !== undefined && isDuplicable(node) ? node : undefined
  }
}

/** Aborted when the connection has ended, or is to end. */
function lossOf(connection: SecondConnection, stopped: AbortSignal): AbortSignal {
  const ended = new AbortController()
  connection.on('end', () => ended.abort())
  const lost = AbortSignal.any([ended.signal, stopped])
  lost.addEventListener('abort', () => connection.disconnect(), { once: true })
  return lost
}

/** `handle`, or `handle owner`. */
function decodeNotice(message: string): EndNotice | undefined {
  const [handle, owner, ...rest] = message.split(' ')
  if (!isDigest(handle) || rest.length > 0) return undefined
  return owner === undefined || isDigest(owner) ? { handle, owner } : undefined
}

async function pause(ms: number, until: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: until }).catch(() => {})
}

/** Whether it was done in time. The reason does not matter: another connection follows. */
function succeeds(work: Promise<unknown>, withinMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const patience = new Patience(withinMs, () => resolve(false))
    const settle = (isDone: boolean) => {
      patience.end()
      resolve(isDone)
    }
    work.then(
      () => settle(true),
      () => settle(false),
    )
  })
}
