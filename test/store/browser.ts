import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

/** What a browser got. */
export interface Page {
  readonly status: number
  readonly setCookie: readonly string[]
  readonly body: unknown
}

// fetch would cost about as much as everything else that a request does here.
const agent = new Agent({ keepAlive: true })

/** A light client with a cookie jar, for suites that send thousands of requests. */
export class Browser {
  #origins: readonly string[]
  #cookie: string | undefined
  #sent = 0

  /** Requests go to the origins in turn, as a load balancer spreads them. */
  constructor(...origins: readonly string[]) {
    this.#origins = origins
  }

  turnTo(...origins: readonly string[]): void {
    this.#origins = origins
  }

  get origins(): readonly string[] {
    return this.#origins
  }

  set cookie(cookie: string | undefined) {
    this.#cookie = cookie
  }

  get cookie(): string | undefined {
    return this.#cookie
  }

  get(path: string): Promise<Page> {
    return this.#request('GET', path)
  }

  post(path: string): Promise<Page> {
    return this.#request('POST', path)
  }

  async #request(method: string, path: string): Promise<Page> {
    const origin = this.#origins[this.#sent % this.#origins.length]
    this.#sent += 1
    const response = await this.#send(`${origin}${path}`, method)
    const setCookie = response.headers['set-cookie'] ?? []
    const [pair] = setCookie.at(-1)?.split(';') ?? []
    if (pair !== undefined) this.#cookie = pair
    const body = await text(response)
    const isJson = response.headers['content-type']?.includes('json') ?? false
    return {
      status: response.statusCode ?? 0,
      setCookie,
      body: isJson ? (JSON.parse(body) as unknown) : body || undefined,
    }
  }

  #send(url: string, method: string): Promise<IncomingMessage> {
    const headers = this.#cookie === undefined ? {} : { cookie: this.#cookie }
    return new Promise((resolve, reject) => {
      request(url, { method, headers, agent }, resolve).on('error', reject).end()
    })
  }
}
