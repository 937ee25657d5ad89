export interface Reply {
  readonly status: number
  readonly text: string
  /** From the request to the last byte of the reply. */
  readonly ms: number
}

/** What a lab needs of a browser: it sends requests to one app, and keeps the cookie that it was given last. */
export class Visitor {
  readonly #origin: string
  #cookie = ''

  constructor(origin: string, cookie = '') {
    this.#origin = origin
    this.#cookie = cookie
  }

  /** The cookie, as a thief would copy it. */
  get cookie(): string {
    return this.#cookie
  }

  get(path: string): Promise<Reply> {
    return this.#send('GET', path)
  }

  post(path: string): Promise<Reply> {
    return this.#send('POST', path)
  }

  async #send(method: string, path: string): Promise<Reply> {
    const from = performance.now()
    const reply = await fetch(`${this.#origin}${path}`, {
      method,
      headers: this.#cookie === '' ? {} : { cookie: this.#cookie },
      redirect: 'manual',
    })
    const text = await reply.text()
    this.#cookie = reply.headers.get('set-cookie')?.split(';', 1)[0] ?? this.#cookie
    return { status: reply.status, text, ms: performance.now() - from }
  }
}
