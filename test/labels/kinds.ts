import { setTimeout as delay } from 'node:timers/promises'
import { TestClock } from '../support/clock.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { type LabelOptions, type Observed, openMemory, openValkey } from './subjects.ts'

/** A kind of label store, with what a test of its promises needs. */
export interface Kind {
  readonly name: string
  start(): Promise<void>
  stop(): Promise<void>
  open(options?: LabelOptions): Observed
  /** Lets time pass on the clock that decides. */
  pass(ms: number): Promise<void>
}

class MemoryKind implements Kind {
  readonly name = 'in process'
  readonly #clock = new TestClock()

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  open(options: LabelOptions = {}): Observed {
    return openMemory({ clock: this.#clock, ...options })
  }

  async pass(ms: number): Promise<void> {
    this.#clock.advance(ms)
  }
}

class ValkeyKind implements Kind {
  readonly name = 'on Valkey'
  readonly #opened: Observed[] = []
  #server: ValkeyServer | undefined

  async start(): Promise<void> {
    this.#server = await startValkey()
  }

  async stop(): Promise<void> {
    await Promise.all(this.#opened.map(({ store }) => store.close()))
    await this.#server?.stop()
  }

  open(options: LabelOptions = {}): Observed {
    if (!this.#server) throw new Error('start() was not awaited')
    const opened = openValkey(this.#server.url, options)
    this.#opened.push(opened)
    return opened
  }

  // The server's clock cannot be set; lifetimes in the tests are short.
  async pass(ms: number): Promise<void> {
    await delay(ms)
  }
}

export const kinds: readonly Kind[] = [new MemoryKind(), new ValkeyKind()]
