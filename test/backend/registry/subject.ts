import { afterEach, beforeEach } from 'vitest'
import type {
  Departed,
  Enrolment,
  EnrolReply,
  Registry,
  Roster,
  Withdrawal,
} from '../../../lib/backend/registry.ts'
import { newBlob, newHandle, newOwner } from '../contract/subject.ts'

export { newBlob, newHandle, newOwner }

/** A registry under test, empty at first. */
export interface RegistrySubject {
  readonly registry: Registry
  /** Makes what the owner has this much older, as if the time had passed. */
  elapse(owner: string, ms: number): Promise<void>
  /** The registry's own clock, in ms. */
  nowMs(): Promise<number>
  close(): Promise<void>
}

export type CreateRegistrySubject = () => Promise<RegistrySubject>

export const HOUR_MS = 3_600_000

export const empty: Roster = { epoch: 0, members: [], pending: [], departed: [] }

/** A fresh registry for each test of the enclosing `describe`. */
export function freshRegistry(create: CreateRegistrySubject): () => RegistrySubject {
  let subject: RegistrySubject | undefined
  beforeEach(async () => {
    subject = await create()
  })
  afterEach(async () => {
    await subject?.close()
  })
  return () => {
    if (subject === undefined) throw new Error('There is a subject inside tests only')
    return subject
  }
}

export function enrolment(handle: string, more: Partial<Enrolment> = {}): Enrolment {
  return { handle, ttlMs: HOUR_MS, beyondCap: 'evict', takenWithinMs: 100 * HOUR_MS, ...more }
}

export function withdrawal(handles: readonly string[], more: Partial<Withdrawal> = {}): Withdrawal {
  return { handles, departedTtlMs: HOUR_MS, ...more }
}

export function departed(handle: string): Departed {
  return { handle, blob: newBlob(60) }
}

export function newHandles(count: number): string[] {
  return Array.from({ length: count }, newHandle)
}

/** Enrols one after the other. */
export async function enrollAll(
  registry: Registry,
  owner: string,
  enrolments: readonly Enrolment[],
): Promise<void> {
  for (const each of enrolments) await registry.enroll(owner, each)
}

export function memberHandles(roster: Roster): string[] {
  return roster.members.map(({ handle }) => handle)
}

/** The reply of an enrolment that was granted; fails the test for any other. */
export function granted(reply: EnrolReply): Extract<EnrolReply, { answer: 'enrolled' }> {
  if (reply.answer !== 'enrolled') throw new Error(`The enrolment was answered with ${reply.answer}`)
  return reply
}
