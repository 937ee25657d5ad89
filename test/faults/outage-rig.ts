import type { RequestHandler } from 'express'
import type { Redis } from 'iovalkey'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { listen, type Running } from '../store/app.ts'
import { SECRET } from '../store/parts-store.ts'
import { EventLoopWatch } from '../support/event-loop.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { outageApp } from './outage-app.ts'

/** What a browser asks, and of which app. */
export interface RequestKind {
  readonly name: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Whether the browser is signed in. */
  readonly hasCookie: boolean
  readonly isGuarded: boolean
}

export const requestKinds = [
  { name: 'no cookie', method: 'GET', path: '/content', hasCookie: false, isGuarded: true },
  { name: 'read', method: 'GET', path: '/content', hasCookie: true, isGuarded: true },
  { name: 'save', method: 'POST', path: '/note', hasCookie: true, isGuarded: true },
  { name: 'save, no guard', method: 'POST', path: '/note', hasCookie: true, isGuarded: false },
  { name: 'sign in', method: 'POST', path: '/sign-in/bob', hasCookie: false, isGuarded: true },
  { name: 'sign out', method: 'POST', path: '/sign-out', hasCookie: true, isGuarded: true },
] as const satisfies readonly RequestKind[]

export type RequestName = (typeof requestKinds)[number]['name']

/** A server and everything between it and browsers that a state of the server is about. */
export interface Site {
  readonly server: ValkeyServer
  readonly proxy: FaultProxy
  readonly admin: Redis
}

/** What an app answered. */
export interface Reply {
  readonly status: number
  /** Less the time for which this process did not run. */
  readonly tookMs: number
  /** The cookie it sets, if any. */
  readonly setCookie: string | undefined
  readonly body: string
  /** The store's reason, if it failed. */
  readonly reason: string | undefined
}

interface VisitParts {
  readonly kind: RequestKind & { readonly name: RequestName }
  readonly store: ValkeyStore
  readonly running: Running
  readonly takeReason: () => string | undefined
}

/** One app with a store of its own, with the options that stores have by themselves, and one browser. */
export class Visit {
  readonly kind: VisitParts['kind']
  readonly #parts: VisitParts
  #cookie: string | undefined

  private constructor(parts: VisitParts) {
    this.kind = parts.kind
    this.#parts = parts
  }

  /** Opens the app, and signs the browser in if it is to have a cookie. */
  static async begin(kind: Visit['kind'], url: string): Promise<Visit> {
    const store = new ValkeyStore({ connection: { url }, secrets: [SECRET] })
    let reason: string | undefined
    const onError = (error: unknown) => {
      reason ??= String(Reflect.get(Object(error), 'reason'))
    }
    const takeReason = () => {
      const taken = reason
      reason = undefined
      return taken
    }
    const guard = kind.isGuarded ? (sessionGuard({ store, onError }) as RequestHandler) : undefined
    const running = await listen(outageApp({ store, guard, onError }))
    const visit = new Visit({ kind, store, running, takeReason })
    const { setCookie } = await visit.#send('POST', '/sign-in/alice')
    if (kind.hasCookie) visit.#cookie = setCookie?.split(';')[0]
    return visit
  }

  ask(): Promise<Reply> {
    return this.#send(this.kind.method, this.kind.path)
  }

  /** What the browser's session holds. */
  async content(): Promise<string> {
    const { store } = this.#parts
    await until(async () => (await store.health()).isReady, { everyMs: 50, what: 'the store is ready' })
    return (await this.#send('GET', '/content')).body
  }

  async end(): Promise<void> {
    await this.#parts.running.close()
    await this.#parts.store.close()
  }

  async #send(method: string, path: string): Promise<Reply> {
    const headers = this.#cookie === undefined ? {} : { cookie: this.#cookie }
    const loop = new EventLoopWatch()
    const startMs = performance.now()
    const response = await fetch(`${this.#parts.running.origin}${path}`, { method, headers })
    const body = await response.text()
    const [setCookie] = response.headers.getSetCookie()
    const endMs = performance.now()
    loop.stop()
    const tookMs = endMs - startMs - loop.stalledMs(startMs, endMs)
    return { status: response.status, tookMs, setCookie, body, reason: this.#parts.takeReason() }
  }
}

export async function openSite(): Promise<Site & { close(): Promise<void> }> {
  // With everysec a kill loses what a slow disk has held up.
  const server = await startValkey({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const proxy = await startFaultProxy(server)
  const admin = server.client({ maxRetriesPerRequest: null })
  const close = async () => {
    await proxy.stop()
    await server.stop()
  }
  return { server, proxy, admin, close }
}
