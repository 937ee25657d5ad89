import type { SessionData } from 'express-session'
import type { EventLoopWatch } from '../../support/event-loop.ts'
import type { Call } from '../history.ts'
import type { Subject, User } from '../subject.ts'
import type { Workload } from '../workload.ts'

/** What stood when all was over. */
export interface Inventory {
  /** The content of each session that could be read. */
  readonly contents: ReadonlyMap<Subject, SessionData>
  /** The handles that each user's list showed. */
  readonly lists: ReadonlyMap<User, readonly string[]>
}

/** A span in which acknowledged writes may be lost, as replication is asynchronous. */
export interface LossWindow {
  readonly fromMs: number
  readonly toMs: number
}

export interface Evidence {
  readonly workload: Workload
  readonly inventory: Inventory
  readonly windows: readonly LossWindow[]
  /** The most sessions a user may have. */
  readonly cap: number
  /** When each call must have settled, in ms. */
  readonly deadlineMs: number
  readonly loop: EventLoopWatch
}

export type CheckName =
  | 'write lost'
  | 'write applied twice'
  | 'refused write applied'
  | 'session missing'
  | 'ended session read'
  | 'session came back'
  | 'session ended early'
  | 'write after the end'
  | 'wrong session'
  | 'more sessions than allowed'
  | 'not in the registry'
  | 'dead in the registry'
  | 'call too late'
  | 'call pending'
  | 'refused for no reason'
  | 'foreign error'
  | 'secret leaked'
  | 'forbidden event'
  | 'unhandled rejection'
  | 'process warning'

/** A promise of the store that a run saw broken. */
export interface Violation {
  readonly check: CheckName
  readonly detail: string
}

/** Whether a call may have been acknowledged by a primary that lost it. */
export function isExcused({ windows }: Pick<Evidence, 'windows'>, call: Call): boolean {
  return windows.some(({ fromMs, toMs }) => call.endMs >= fromMs && call.startMs <= toMs)
}

/** Whether anything that was done to a session may have been lost. */
export function isTainted(evidence: Evidence, subject: Subject): boolean {
  const { user } = subject
  return [...subject.calls, ...(user?.endings.map(({ call }) => call) ?? [])].some((call) =>
    isExcused(evidence, call),
  )
}
