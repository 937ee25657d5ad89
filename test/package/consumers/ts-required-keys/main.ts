import type { Express } from 'express'
import session from 'express-session'
import {
  createLabelStore,
  InProcessStore,
  type SessionStoreOptions,
  sessionAdmin,
  sessionGuard,
  taintLabels,
} from 'express-session-valkey'

// Keys that every signed-in session has, and that a visitor's has not.
declare module 'express-session' {
  interface SessionData {
    account: { id: string; plan: 'free' | 'paid' }
    visits: number
  }
}

const store = new InProcessStore({
  userId: (s) => s.account?.id,
  ttl: (s) => (s.account?.plan === 'paid' ? 3600 : 60),
  device: (req) => ({ plan: req.session.account?.plan ?? 'none' }),
})

// As an app that spells the type out writes it.
export const annotated: SessionStoreOptions = {
  userId: (s: session.Session & Partial<session.SessionData>) => s.account?.id,
  ttl: (s: Partial<session.SessionData>) => s.visits ?? 60,
}

// @ts-expect-error a visitor has no account
export const unchecked: SessionStoreOptions = { userId: (s) => s.account.id }

// @ts-expect-error a visitor has no account
export const uncheckedTtl: SessionStoreOptions = { ttl: (s) => s.account.id.length }

export const uncheckedDevice: SessionStoreOptions = {
  // @ts-expect-error a visitor has no account
  device: (req) => ({ plan: req.session.account.plan }),
}

export function mount(app: Express): void {
  const labels = createLabelStore({ kind: 'in-process' })
  app.use(session({ store, secret: 'x', resave: false, saveUninitialized: false }))
  app.use(sessionGuard({ store }))
  app.use(taintLabels({ store: labels, sessions: store, subject: (req) => req.session.account?.id }))
  // @ts-expect-error a visitor has no account
  app.use(taintLabels({ store: labels, subject: (req) => req.session.account.id }))
  app.use(
    '/devices',
    sessionAdmin({
      store,
      authorize: (req) => req.session?.account?.plan === 'paid',
      actor: (req) => ({ type: 'user', id: String(req.session?.account?.id) }),
    }),
  )
}

process.stdout.write('hello')
