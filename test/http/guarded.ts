import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { RequestHandler } from 'express'
import session, { type SessionOptions } from 'express-session'
import type { Backend } from '../../lib/backend/backend.ts'
import { type SessionGuardOptions, sessionGuard } from '../../lib/http/guard/session-guard.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { COOKIE_SECRET } from '../store/app.ts'
import type { Place } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'

/** The header by which a test's client says which id its new session is to have, so that the test can look for it. */
export const SID_HEADER = 'x-new-sid'

export const newSid = () => randomBytes(16).toString('hex')

export interface Guarded {
  readonly store: SessionStore
  /** What `session()` and `sessionGuard()` made, in this order. */
  readonly middlewares: readonly [session: RequestHandler, ...guard: RequestHandler[]]
  readonly errors: unknown[]
}

export interface GuardTerms {
  readonly place: Place
  /** Verbs of the backend to replace. */
  readonly verbs?: (backend: Backend) => Partial<Backend>
  readonly session?: Partial<SessionOptions>
  readonly guard?: Partial<SessionGuardOptions> | 'none'
}

/** The middlewares as an app mounts them, over a backend into which faults can be put. */
export function guarded({ place, verbs = () => ({}), session: options, guard = {} }: GuardTerms): Guarded {
  const backend = place.backend()
  const store = place.over(wrapBackend(backend, verbs(backend)))
  const errors: unknown[] = []
  const sessions = session({
    store,
    secret: COOKIE_SECRET,
    resave: false,
    saveUninitialized: false,
    genid: sidOf,
    ...options,
  })
  const guards =
    guard === 'none' ? [] : [sessionGuard({ store, onError: (error) => errors.push(error), ...guard })]
  return { store, errors, middlewares: [sessions, ...guards] }
}

function sidOf({ headers }: IncomingMessage): string {
  const sid = headers[SID_HEADER]
  return typeof sid === 'string' ? sid : newSid()
}

/** Runs middlewares and then a handler, as an app without a framework does. */
export function chain(middlewares: readonly RequestHandler[], handler: (req: never, res: never) => unknown) {
  return (req: unknown, res: unknown): void => {
    const run = (at: number): void => {
      const middleware = middlewares[at]
      if (middleware === undefined) handler(req as never, res as never)
      else
        middleware(req as never, res as never, (error?: unknown) => (error ? fail(res, error) : run(at + 1)))
    }
    run(0)
  }
}

function fail(res: unknown, error: unknown): void {
  const { status = 500 } = error as { readonly status?: number }
  const answer = res as {
    headersSent: boolean
    writeHead(status: number): void
    end(): void
    destroy(): void
  }
  if (answer.headersSent) answer.destroy()
  else answer.writeHead(status)
  answer.end()
}
