import { setTimeout as delay } from 'node:timers/promises'
import type { Express } from 'express'
import {
  deniesTaint,
  type LabelStore,
  type SessionStore,
  sessionGuard,
  taintLabels,
  taintOf,
  taints,
} from 'express-session-valkey'
import { sendStatusOf, serve, signInApp } from './lab-app.ts'
import { Visitor } from './visitor.ts'

export interface TaintTerms {
  readonly store: SessionStore
  readonly labels: LabelStore
  /** How long to wait between two requests: only so that one can watch. */
  readonly paceMs: number
}

export interface TaintRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** What the route is to a session: open to it, labels it, or refuses one that is labelled. */
  readonly kind: 'open' | 'source' | 'gate'
}

/** A request that was replied to. */
export interface TaintStep extends TaintRequest {
  readonly status: number
  /** What the session is labelled with afterwards. */
  readonly labels: readonly string[]
}

/** What one session requests, in this order. */
export const TAINT_PATH: readonly TaintRequest[] = [
  { method: 'POST', path: '/export', kind: 'gate' },
  { method: 'GET', path: '/customers/7', kind: 'source' },
  { method: 'GET', path: '/handbook', kind: 'open' },
  { method: 'POST', path: '/export', kind: 'gate' },
  { method: 'POST', path: '/mail', kind: 'gate' },
]

/** Sends the requests of one session one after the other, and reports the steps so far after each. */
export async function runTaint(
  { store, labels, paceMs }: TaintTerms,
  report: (steps: readonly TaintStep[]) => void,
): Promise<readonly TaintStep[]> {
  const app = await serve(gateway(store, labels))
  const steps: TaintStep[] = []
  try {
    const visitor = new Visitor(app.origin)
    await visitor.post('/sign-in/taint-lab')
    for (const step of TAINT_PATH) {
      await delay(paceMs)
      const { status } = await (step.method === 'GET' ? visitor.get(step.path) : visitor.post(step.path))
      const held = await visitor.get('/labels')
      steps.push({ ...step, status, labels: held.status === 200 ? JSON.parse(held.text) : [] })
      report([...steps])
    }
    await visitor.post('/sign-out')
  } finally {
    await app.close()
  }
  return steps
}

function gateway(store: SessionStore, labels: LabelStore): Express {
  const app = signInApp(store, (app) => {
    app.use(sessionGuard({ store, onError: () => {} }))
    app.use(taintLabels({ store: labels, sessions: store }))
  })
  app.get('/customers/7', taints('pii'), (_req, res) => void res.send('Ada Lovelace, London'))
  app.get('/handbook', (_req, res) => void res.send('Be kind to each other.'))
  app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
  app.post('/mail', deniesTaint('pii'), (_req, res) => void res.send('sent'))
  app.get('/labels', (req, res) => void res.json([...taintOf(req).labels]))
  app.use(sendStatusOf)
  return app
}
