import type { Readable } from 'node:stream'
import { type AnyResponse, isHttp2 } from './response-methods.ts'

/** The streams that are piped into a response, so that none flows on, or stays open, once the response is refused. */
export class PipedSources {
  readonly #res: AnyResponse
  #sources: Set<Readable> | undefined
  #isAbandoned = false

  constructor(res: AnyResponse) {
    this.#res = res
    res.on('pipe', (source: Readable) => this.#add(source))
  }

  /** Unpipes all sources, those to come included, and destroys them when the response is through. */
  abandon(): void {
    this.#isAbandoned = true
    for (const source of [...(this.#sources ?? [])]) this.#detach(source)
  }

  // Most responses are piped nothing: what is needed for it is made when it comes.
  #add(source: Readable): void {
    if (this.#isAbandoned) {
      this.#detach(source)
      return
    }
    if (this.#sources === undefined) {
      this.#sources = new Set()
      this.#res.on('unpipe', (gone: Readable) => this.#sources?.delete(gone))
    }
    this.#sources.add(source)
  }

  #detach(source: Readable): void {
    source.unpipe(this.#res)
    // Destroying an unfinished request would take the connection, and the answer, with it.
    if (Object.is(source, this.#res.req)) source.resume()
    else this.#whenThrough(() => source.destroy?.())
  }

  // Not before: `pipeline` destroys the response with its source.
  #whenThrough(action: () => void): void {
    if (isThrough(this.#res)) {
      action()
      return
    }
    this.#res.once('finish', action)
    this.#res.once('close', action)
  }
}

function isThrough(res: AnyResponse): boolean {
  return res.writableFinished || (isHttp2(res) ? res.stream.closed : res.closed)
}
