import { setTimeout as delay } from 'node:timers/promises'
import type { Express } from 'express'
import { type SessionStore, sessionGuard } from 'express-session-valkey'
import { contentOf, type RunningApp, sendStatusOf, serve, signInApp } from './lab-app.ts'
import { Visitor } from './visitor.ts'

export const OUTAGES = ['freeze', 'fill', 'read-only', 'kill'] as const
export type Outage = (typeof OUTAGES)[number]

const MAX_WAIT_MS = 15_000
const USER = 'outage-lab'

/** A server that may be broken: what begins an outage, and what ends it. */
export type Breakable = Readonly<Record<Outage, { begin(): Promise<unknown>; end(): Promise<unknown> }>>

export type Phase = 'before' | 'during' | 'after'

/** A request that was replied to. */
export interface OutageSample {
  readonly kind: 'read' | 'write'
  /** When it was sent, from the beginning of the run. */
  readonly atMs: number
  readonly ms: number
  readonly status: number
  readonly phase: Phase
  /** Whether it succeeded although the app did not know whose it was. */
  readonly isStranger: boolean
}

export interface OutageRun {
  readonly outage: Outage
  readonly phase: Phase | 'over'
  /** When the outage began and ended, from the beginning of the run. */
  readonly outageMs: readonly [from: number | undefined, to: number | undefined]
  readonly samples: readonly OutageSample[]
  /** Whether the session from before the outage still names its user; asked at the end. */
  readonly isSignedIn?: boolean
}

export interface OutageTerms {
  readonly store: SessionStore
  readonly server: Breakable
  readonly outage: Outage
  /** How long the phases before and during the outage last, and how long all must be well after it. */
  readonly phaseMs: number
  /** How often a reading and a writing request are sent, whether or not those before have been replied to. */
  readonly everyMs: number
}

/** Sends requests before, during and after an outage, and reports the run so far after each reply. */
export async function runOutage(terms: OutageTerms, report: (run: OutageRun) => void): Promise<OutageRun> {
  const { store, server, outage, phaseMs } = terms
  const app = await serve(outageApp(store))
  const visitor = new Visitor(app.origin)
  const traffic: Traffic = new Traffic({ app, visitor, everyMs: terms.everyMs }, (samples, phase) =>
    report({ outage, phase, samples, outageMs: traffic.outageMs }),
  )
  try {
    await visitor.post(`/sign-in/${USER}`)
    traffic.begin()
    await traffic.succeeds('before')
    await delay(phaseMs)
    traffic.enter('during')
    try {
      await server[outage].begin()
      await delay(phaseMs)
    } finally {
      await server[outage].end()
    }
    traffic.enter('after')
    await traffic.succeeds('after')
    await delay(phaseMs)
    const samples = await traffic.end()
    const isSignedIn = (await visitor.get('/session')).text.includes(USER)
    const run: OutageRun = { outage, phase: 'over', samples, isSignedIn, outageMs: traffic.outageMs }
    report(run)
    return run
  } finally {
    await traffic.end()
    await app.close()
  }
}

interface TrafficTerms {
  readonly app: RunningApp
  readonly visitor: Visitor
  readonly everyMs: number
}

/** Requests at a steady rate, which do not wait for each other. */
class Traffic {
  #phase: Phase = 'before'
  #outageMs: OutageRun['outageMs'] = [undefined, undefined]
  readonly #terms: TrafficTerms
  readonly #report: (samples: readonly OutageSample[], phase: Phase) => void
  readonly #samples: OutageSample[] = []
  readonly #open = new Set<Promise<void>>()
  readonly #from = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor(terms: TrafficTerms, report: (samples: readonly OutageSample[], phase: Phase) => void) {
    this.#terms = terms
    this.#report = report
  }

  get outageMs(): OutageRun['outageMs'] {
    return this.#outageMs
  }

  enter(phase: 'during' | 'after'): void {
    this.#phase = phase
    const [from = this.#nowMs()] = this.#outageMs
    this.#outageMs = [from, phase === 'after' ? this.#nowMs() : undefined]
  }

  begin(): void {
    this.#timer = setInterval(() => {
      this.#send('read')
      this.#send('write')
    }, this.#terms.everyMs)
  }

  /** Resolves when a write of this phase has succeeded, or when waiting for one is in vain. */
  async succeeds(wanted: Phase): Promise<void> {
    const isOne = ({ phase, kind, status }: OutageSample) =>
      phase === wanted && kind === 'write' && status < 300
    const untilMs = performance.now() + MAX_WAIT_MS
    while (!this.#samples.some(isOne) && performance.now() < untilMs) await delay(this.#terms.everyMs)
  }

  /** Sends no more, and resolves to what has been replied to, in the order in which it was sent. */
  async end(): Promise<readonly OutageSample[]> {
    clearInterval(this.#timer)
    await Promise.all(this.#open)
    return this.#sorted()
  }

  #send(kind: OutageSample['kind']): void {
    const { app, visitor } = this.#terms
    const sentIn = this.#phase
    const atMs = this.#nowMs()
    const browser = new Visitor(app.origin, visitor.cookie)
    const reply = kind === 'read' ? browser.get('/session') : browser.post('/visit')
    const sent = reply.then(({ status, ms, text }) => {
      this.#open.delete(sent)
      // What the outage met on its way is part of it.
      const phase = this.#phase === 'before' || sentIn === 'after' ? sentIn : 'during'
      const isStranger = status < 400 && !text.includes(USER)
      this.#samples.push({ kind, atMs, ms, status, phase, isStranger })
      this.#report(this.#sorted(), this.#phase)
    })
    this.#open.add(sent)
  }

  #nowMs(): number {
    return performance.now() - this.#from
  }

  #sorted(): readonly OutageSample[] {
    return [...this.#samples].sort((one, other) => one.atMs - other.atMs)
  }
}

function outageApp(store: SessionStore): Express {
  const app = signInApp(store, (app) => app.use(sessionGuard({ store, onError: () => {} })))
  app.post('/visit', (req, res) => {
    Object.assign(req.session, { visits: Number(contentOf(req)['visits'] ?? 0) + 1 })
    res.json(contentOf(req))
  })
  app.use(sendStatusOf)
  return app
}
