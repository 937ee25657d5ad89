import type { ValkeyClient } from './client.ts'
import { classifyFailure, type Failure, notConnected } from './failures.ts'

/** Waits for a client that is not connected yet. Its commands would fail at once, as it keeps no offline queue. */
export class Readiness {
  readonly #client: ValkeyClient
  readonly #waiting = new Set<() => void>()
  #lastRefusal: Failure = notConnected

  constructor(client: ValkeyClient) {
    this.#client = client
    client.on('ready', this.#onReady)
    client.on('end', this.#wake)
    // Also keeps the client from printing the error, or the process from dying of it.
    client.on('error', this.#onError)
  }

  get isReady(): boolean {
    return this.#client.status === 'ready'
  }

  /** Resolves to `undefined` once commands can be sent, or to why they could not within `waitMs`. */
  async wait(waitMs: number): Promise<Failure | undefined> {
    if (this.#client.status === 'wait') this.#client.connect().catch(() => {})
    if (this.#client.status !== 'end') await this.#nextChange(waitMs)
    return this.isReady ? undefined : this.#lastRefusal
  }

  #nextChange(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, waitMs)
      this.#waiting.add(done)
    })
  }

  readonly #onReady = (): void => {
    this.#lastRefusal = notConnected
    this.#wake()
  }

  readonly #wake = (): void => {
    for (const done of this.#waiting) done()
  }

  readonly #onError = (error: Error): void => {
    const { reason, mayBeApplied } = classifyFailure(error)
    this.#lastRefusal = mayBeApplied ? notConnected : { ...notConnected, reason }
  }

  /** Leaves a client that lives on; the `error` listener stays, as the client may still fail. */
  stop(): void {
    this.#client.off('ready', this.#onReady)
    this.#client.off('end', this.#wake)
    this.#wake()
  }
}
