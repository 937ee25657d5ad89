import { EventEmitter, once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Express } from 'express'
import type { Store } from 'express-session'
import { type RunningApp, save, sendStatusOf, serve, signInApp } from './lab-app.ts'
import { Visitor } from './visitor.ts'

/** A store in the race. */
export interface Contender {
  readonly name: string
  readonly store: Store
}

export interface RaceTerms {
  /** How many users sign out while a slow request of theirs still runs. */
  readonly signOuts: number
  /** How many requests at once change one session, each another key of it. */
  readonly updates: number
  /** How long each slow request works: only so that one can watch. */
  readonly paceMs: number
}

/** What has been counted of one store so far. */
export interface RaceScore {
  readonly name: string
  /** Users who signed out, and whose slow request has then saved. */
  readonly signedOut: number
  /** Those of them who are signed in again afterwards. */
  readonly cameBack: number
  /** Updates that were replied to with success. */
  readonly acknowledged: number
  /** Updates that are in the session. */
  readonly kept: number
}

type Score = { -readonly [Key in keyof RaceScore]: RaceScore[Key] }

const WORKERS = 5
const LOOK_EVERY_MS = 50

/** Runs the same app and the same requests on each store, side by side, and reports each change of a score. */
export async function runRace(
  contenders: readonly Contender[],
  terms: RaceTerms,
  report: (scores: readonly RaceScore[]) => void,
): Promise<readonly RaceScore[]> {
  const scores = contenders.map(({ name }) => ({
    ...{ name, signedOut: 0, cameBack: 0 },
    ...{ acknowledged: 0, kept: 0 },
  }))
  const race = async ({ store }: Contender, score: Score) => {
    const slowRequests = new SlowRequests()
    const lane = {
      app: await serve(raceApp(store, slowRequests)),
      ...{ slowRequests, terms, score },
      changed: () => report(scores.map((one) => ({ ...one }))),
    }
    try {
      await raceSignOuts(lane)
      await raceUpdates(lane)
    } finally {
      await lane.app.close()
    }
  }
  await Promise.all(
    contenders.map((contender, at) => {
      const score = scores[at]
      return score && race(contender, score)
    }),
  )
  return scores
}

interface Lane {
  readonly app: RunningApp
  readonly slowRequests: SlowRequests
  readonly terms: RaceTerms
  readonly score: Score
  changed(): void
}

/** Requests that have loaded their session and still work on it. */
class SlowRequests {
  readonly #waiting = new Map<string, () => void>()
  readonly #arrivals = new EventEmitter()

  /** Called by the handler: waits until it is released. */
  async work(name: string): Promise<void> {
    const released = new Promise<void>((resolve) => this.#waiting.set(name, resolve))
    this.#arrivals.emit('arrived')
    await released
  }

  /** Resolves when all of these are at work. */
  async reached(names: readonly string[]): Promise<void> {
    while (!names.every((name) => this.#waiting.has(name))) await once(this.#arrivals, 'arrived')
  }

  release(name: string): void {
    this.#waiting.get(name)?.()
    this.#waiting.delete(name)
  }
}

function raceApp(store: Store, slowRequests: SlowRequests): Express {
  const app = signInApp(store)
  app.post('/slow/:key', async (req, res) => {
    Object.assign(req.session, { [req.params.key]: true })
    await slowRequests.work(req.params.key)
    await save(req)
    res.sendStatus(204)
  })
  app.use(sendStatusOf)
  return app
}

/** Each user signs out while a slow request runs, which then saves the session that it has loaded. */
async function raceSignOuts(lane: Lane): Promise<void> {
  const { terms, score, changed } = lane
  const left = Array.from({ length: terms.signOuts }, (_, at) => `draft-${at + 1}`)
  const work = async () => {
    for (let key = left.shift(); key !== undefined; key = left.shift()) {
      if (await comesBack(lane, key)) score.cameBack += 1
      score.signedOut += 1
      changed()
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, work))
}

async function comesBack({ app, slowRequests, terms }: Lane, key: string): Promise<boolean> {
  const visitor = new Visitor(app.origin)
  await visitor.post(`/sign-in/race-${key}`)
  const slow = new Visitor(app.origin, visitor.cookie)
  const saved = slow.post(`/slow/${key}`)
  // A request that failed does not arrive.
  await Promise.race([slowRequests.reached([key]), saved])
  await visitor.post('/sign-out')
  await delay(terms.paceMs)
  slowRequests.release(key)
  await saved
  const old = new Visitor(app.origin, slow.cookie)
  const isBack = 'userId' in (await sessionOf(old))
  if (isBack) await old.post('/sign-out')
  return isBack
}

/** All requests load one session before the first of them saves, each another key. */
async function raceUpdates({ app, slowRequests, terms, score, changed }: Lane): Promise<void> {
  const visitor = new Visitor(app.origin)
  await visitor.post('/sign-in/race-updates')
  const keys = Array.from({ length: terms.updates }, (_, at) => `update-${at + 1}`)
  const update = async (key: string) => {
    const { status } = await new Visitor(app.origin, visitor.cookie).post(`/slow/${key}`)
    if (status === 204) score.acknowledged += 1
    changed()
  }
  const count = async () => {
    const content = await sessionOf(new Visitor(app.origin, visitor.cookie))
    score.kept = keys.filter((key) => key in content).length
    changed()
  }
  const updates = Promise.all(keys.map(update))
  await Promise.race([slowRequests.reached(keys), updates])
  const watching = new AbortController()
  const watched = countUntil(watching.signal, count)
  for (const key of keys) {
    slowRequests.release(key)
    await delay(terms.paceMs / 4)
  }
  await updates
  watching.abort()
  await watched
  await count()
  await visitor.post('/sign-out')
}

async function countUntil(signal: AbortSignal, count: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await count()
    await delay(LOOK_EVERY_MS)
  }
}

async function sessionOf(visitor: Visitor): Promise<object> {
  const { status, text } = await visitor.get('/session')
  if (status !== 200) throw new Error(`The lab's own app replied ${status}`)
  return JSON.parse(text) as object
}
