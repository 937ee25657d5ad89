import type { Request, Response } from 'express'
import type { LabelStore, SessionStore } from 'express-session-valkey'
import type { StatefulAuthRouter } from 'express-session-valkey/auth'
import type { LiveHub } from './live.ts'
import type { LocalValkey } from './local-valkey.ts'
import { rootOf } from './slots.ts'
import type { DemoUser, Users } from './users.ts'

declare module 'express-session' {
  interface SessionData {
    userId?: string
  }
}

export const COOKIE = 'demo.sid'

/** What every room gets. A room is a file of `rooms/` that exports a function from this to a router. */
export interface Demo {
  readonly store: SessionStore
  readonly labels: LabelStore
  /** Mounted at `/auth`. Its tokens are sessions of the same registry. */
  readonly auth: StatefulAuthRouter
  readonly users: Users
  readonly live: LiveHub
  readonly backend: 'in-process' | 'valkey'
  /** Where Valkey is, if sessions are kept there. */
  readonly valkeyUrl?: string | undefined
  /** The server that the demo started itself: the one that a room may freeze, fill and kill. */
  readonly valkey?: LocalValkey | undefined
  /** `http://127.0.0.1:3000` */
  readonly origin: string
  /** Seals the sessions; a real app shows it to nobody. */
  readonly sessionKey: string
  readonly prefix: string
}

/** Returns who is signed in; the same user is in `response.locals.user` for the page. */
export function signedInUser(demo: Demo, request: Request): DemoUser | undefined {
  const { userId } = request.session
  return userId === undefined ? undefined : demo.users.get(userId)
}

/** Returns who is signed in, or sends the visitor to the sign-in page and from there back to `path`. */
export function requireUser(
  demo: Demo,
  request: Request,
  response: Response,
  path: string,
): DemoUser | undefined {
  const user = signedInUser(demo, request)
  if (user === undefined) response.redirect(303, `${rootOf(request)}sign-in?then=${encodeURIComponent(path)}`)
  return user
}
