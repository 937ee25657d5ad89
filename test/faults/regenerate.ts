import type { Request } from 'express'
import type { LiveSession } from '../store/live-session.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject, User } from './subject.ts'
import type { Workload } from './workload.ts'

export interface Regeneration {
  readonly workload: Workload
  readonly store: StoreUnderTest
  readonly old: Subject
  readonly live: LiveSession
  /** Who signs in. */
  readonly user: User | undefined
}

interface Regenerating {
  sessionID: string
  session: LiveSession
  readonly sessionStore: StoreUnderTest
  /** Makes what comes next; not a part of a real request. */
  readonly next: () => { readonly subject: Subject; readonly live: LiveSession }
}

/** Gives the store a way to make sessions, as `session({ store })` does. */
export function mount(store: StoreUnderTest): void {
  store.generate = (request: Request) => {
    const regenerating = request as unknown as Regenerating
    const { subject, live } = regenerating.next()
    regenerating.sessionID = subject.sid
    regenerating.session = live
  }
}

/** Regenerates a session as a login route does; what came of it if that was acknowledged. */
export async function regenerate(
  regeneration: Regeneration,
): Promise<{ subject: Subject; live: LiveSession } | undefined> {
  const { workload, store, old, live, user } = regeneration
  let made: { subject: Subject; live: LiveSession } | undefined
  const next = () => {
    const subject = workload.begin('mortal', user)
    made = { subject, live: workload.generate(store, subject) }
    return made
  }
  const request: Regenerating = { sessionID: old.sid, session: live, sessionStore: store, next }
  const ending = workload.history.begin('regenerate')
  old.endings.push(ending)
  const { call } = await workload.history.settle(ending, () => regenerated(store, request))
  if (call.verdict === 'acked') return made
  if (made !== undefined) workload.odd('a new session although the old one was not ended', call, old)
  return undefined
}

function regenerated(store: StoreUnderTest, request: Regenerating): Promise<void> {
  return new Promise((resolve, reject) => {
    store.regenerate(request as unknown as Request, (error) => (error ? reject(error) : resolve()))
  })
}
