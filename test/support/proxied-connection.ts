import { connect, type Socket } from 'node:net'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import type { Direction, FaultState } from './fault.ts'

export interface Target {
  readonly host?: string
  readonly port: number
}

/** One client's connection and ours to the server behind it. */
export class ProxiedConnection {
  readonly #client: Socket
  readonly #server: Socket
  readonly #state: () => FaultState
  // Chunks are handled one after the other in each direction, so a fault never changes their order.
  readonly #queues = { request: Promise.resolve(), reply: Promise.resolve() }
  #lostBytes = false
  #dropsNextReply = false
  #replyBytesSinceCut = 0

  constructor(client: Socket, target: Target, state: () => FaultState) {
    this.#client = client.setNoDelay(true)
    this.#server = connect({
      host: target.host ?? '127.0.0.1',
      port: target.port,
      allowHalfOpen: true,
    }).setNoDelay(true)
    this.#state = state
    this.#forward('request', this.#client)
    this.#forward('reply', this.#server)
  }

  get lostBytes(): boolean {
    return this.#lostBytes
  }

  get closed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#client.destroyed) resolve()
      else this.#client.once('close', () => resolve())
    })
  }

  reset(): void {
    this.#client.resetAndDestroy()
    this.#server.destroy()
  }

  close(): void {
    // Each time it would listen to the socket anew.
    if (this.#client.writableEnded) return
    this.#client.end()
    this.#client.destroySoon()
    this.#server.destroy()
  }

  /** Starts counting reply bytes anew, for a `cut`. */
  recount(): void {
    this.#replyBytesSinceCut = 0
  }

  #forward(direction: Direction, from: Socket): void {
    const { counts } = this.#state()
    from.on('data', (chunk: Buffer) => {
      counts[direction === 'request' ? 'requestBytes' : 'replyBytes'] += chunk.length
      const arrivedAt = performance.now()
      this.#enqueue(direction, () => this.#pass(direction, chunk, arrivedAt))
    })
    from.on('end', () => this.#enqueue(direction, async () => void this.#to(direction).end()))
    from.on('error', () => this.reset())
    from.on('close', () => this.#enqueue(direction, async () => void this.#to(direction).destroySoon()))
  }

  #enqueue(direction: Direction, step: () => Promise<void>): void {
    this.#queues[direction] = this.#queues[direction].then(step)
  }

  #to(direction: Direction): Socket {
    return direction === 'request' ? this.#server : this.#client
  }

  async #pass(direction: Direction, chunk: Buffer, arrivedAt: number): Promise<void> {
    const { fault, changed } = this.#state()
    const to = this.#to(direction)
    if (this.#lostBytes || fault.kind === 'blackhole') {
      // Once bytes are lost the rest of the stream would be read as something else: no real network does that.
      this.#lostBytes = true
    } else if (fault.kind === 'pause') {
      await changed
      await this.#pass(direction, chunk, arrivedAt)
    } else if (fault.kind === 'delay' && fault.direction !== other(direction)) {
      await delay(Math.max(0, arrivedAt + fault.ms - performance.now()))
      write(to, chunk)
    } else if (fault.kind === 'split') {
      await writeBytewise(to, chunk)
    } else if (direction === 'request') {
      this.#dropsNextReply ||= this.#state().takeDrop(chunk)
      write(to, chunk)
    } else {
      this.#reply(chunk)
    }
  }

  #reply(chunk: Buffer): void {
    const { fault, counts } = this.#state()
    if (this.#dropsNextReply) {
      counts.droppedReplies++
      this.#client.resetAndDestroy()
      // Not destroyed: what was sent must still be read and applied.
      this.#server.end()
      return
    }
    const left = fault.kind === 'cut' ? fault.bytes - this.#replyBytesSinceCut : Number.POSITIVE_INFINITY
    this.#replyBytesSinceCut += chunk.length
    write(this.#client, chunk.subarray(0, Math.max(0, left)))
    if (chunk.length >= left) this.close()
  }
}

function other(direction: Direction): Direction {
  return direction === 'request' ? 'reply' : 'request'
}

function write(to: Socket, bytes: Uint8Array): void {
  if (to.writable) to.write(bytes)
}

async function writeBytewise(to: Socket, chunk: Buffer): Promise<void> {
  for (const byte of chunk) {
    write(to, Uint8Array.of(byte))
    await nextTurn()
  }
}
