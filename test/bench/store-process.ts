// One store in a process of its own: makes calls of it, and says what they cost. Started by store.ts, growth.ts and shards.ts.
import type { Request } from 'express'
import type { Session, SessionData } from 'express-session'
import { generateSession } from '../store/live-session.ts'
import {
  CAP,
  type CandidateName,
  type Done,
  type KeptStore,
  type OurOptions,
  openCandidate,
  type Place,
} from './candidates.ts'
import { COOKIE, contentOf, newSid, sessionOf } from './content.ts'
import { called, costOf, inBatches, type Work } from './cost.ts'
import { serve, startedWith } from './subject.ts'

export type Operation = 'get' | 'set' | 'touch' | 'touch that is due' | 'destroy' | 'login at cap'

export interface StoreTask {
  readonly operation: Operation
  readonly bytes: number
  readonly inFlight: number
  readonly calls: number
}

type LiveSession = Session & SessionData & { visits: number }

/** As many visitors come again and again. */
const VISITORS = 256
/** As many users sign in, each again and again. */
const USERS = 97

interface StoreArgs {
  readonly candidate: CandidateName
  readonly place: Place
  readonly options?: OurOptions
}

const { candidate, place, options } = startedWith<StoreArgs>()
const { store, eager = store } = await openCandidate(candidate, place, options)
const visitorsBySize = new Map<
  number,
  Promise<readonly (readonly [sid: string, live: LiveSession, touched: LiveSession])[]>
>()
const usersWith = new Set<number>()

serve<StoreTask>(async (task) => {
  const work = await workOf(task)
  return costOf(work, task)
})

async function workOf({ operation, bytes, calls }: StoreTask): Promise<Work> {
  if (operation === 'destroy') return destroys(bytes, calls)
  if (operation === 'login at cap') return logins(bytes, calls)
  const visitors = await visitorsOf(bytes)
  const at = (index: number) => visitors[index % VISITORS] ?? neverHere()
  switch (operation) {
    case 'get':
      return (index, done) => store.get(at(index)[0], done)
    case 'set':
      return (index, done) => {
        const [sid, live] = at(index)
        live.visits += 1
        store.set(sid, live, done)
      }
    case 'touch':
      return (index, done) => store.touch(at(index)[0], at(index)[1], done)
    case 'touch that is due':
      return (index, done) => eager.touch(at(index)[0], at(index)[2], done)
  }
}

/** Sessions of this size that are stored, each loaded as express-session does it for a request. */
function visitorsOf(bytes: number) {
  const known = visitorsBySize.get(bytes)
  if (known !== undefined) return known
  const visitors = Promise.all(
    Array.from({ length: VISITORS }, async (_, index) => {
      const sid = newSid()
      await called((done) => store.set(sid, sessionOf(index, bytes), done))
      return [sid, await loaded(store, sid), await loaded(eager, sid)] as const
    }),
  )
  visitorsBySize.set(bytes, visitors)
  return visitors
}

async function loaded(from: KeptStore, sid: string): Promise<LiveSession> {
  const data = await new Promise<SessionData>((resolve, reject) =>
    from.get(sid, (error, found) => (found ? resolve(found) : reject(error ?? new Error('It is gone')))),
  )
  return from.createSession({ sessionID: sid, sessionStore: from } as unknown as Request, data) as LiveSession
}

async function destroys(bytes: number, calls: number): Promise<Work> {
  const sids = Array.from({ length: calls }, newSid)
  await inBatches(calls, (index) =>
    called((done) => store.set(sids[index] ?? '', sessionOf(index, bytes), done)),
  )
  return (index, done) => store.destroy(sids[index] ?? '', done)
}

/** First saves of sessions that name a user who has as many as are allowed. */
async function logins(bytes: number, calls: number): Promise<Work> {
  const signIn = (index: number, done: Done) => {
    const sid = newSid()
    const content = { ...contentOf(index, bytes), userId: `user-${index % USERS}` }
    return [sid, generateSession(store, sid, { cookie: COOKIE, content }), done] as const
  }
  if (!usersWith.has(bytes)) {
    await inBatches(USERS * CAP, (index) => called((done) => store.set(...signIn(index, done))))
    usersWith.add(bytes)
  }
  const ready = Array.from({ length: calls }, (_, index) => signIn(index, () => {}))
  return (index, done) => {
    const [sid, live] = ready[index] ?? neverHere()
    return store.set(sid, live, done)
  }
}

function neverHere(): never {
  throw new Error('There are fewer sessions than indexes')
}
