import { checkHandle, checkHardEnd, wholeTtl } from './arguments.ts'
import {
  type Enrolment,
  type Extension,
  MAX_DEPARTED,
  MAX_DEPARTED_BYTES,
  PAGE_SIZE,
  type Raising,
  type Withdrawal,
} from './registry.ts'

/** The extension with a whole lifetime. */
export function wholeExtension(extension: Extension): Extension {
  const { handle, ttlMs, endsAtMs, isExtension } = extension
  checkHandle(handle)
  checkHardEnd(endsAtMs)
  return { handle, ttlMs: wholeTtl(ttlMs), endsAtMs, isExtension }
}

/** The enrolment with a whole lifetime. */
export function wholeEnrolment(enrolment: Enrolment): Enrolment {
  const { cap, beyondCap, takenWithinMs } = enrolment
  if (cap !== undefined && !(Number.isSafeInteger(cap) && cap > 0)) {
    throw new TypeError(`A cap must be a whole number of at least 1, got ${cap}`)
  }
  return { ...wholeExtension(enrolment), cap, beyondCap, takenWithinMs: wholeTtl(takenWithinMs) }
}

/** The withdrawal with a whole lifetime, and no more departed than are remembered. */
export function wholeWithdrawal(withdrawal: Withdrawal): Withdrawal {
  const { handles, departed = [], departedTtlMs, taken } = withdrawal
  if (handles.length > PAGE_SIZE)
    throw new TypeError(`At most ${PAGE_SIZE} handles can be withdrawn at once, got ${handles.length}`)
  for (const handle of handles) checkHandle(handle)
  for (const { handle, blob } of departed) {
    checkHandle(handle)
    if (blob.length > MAX_DEPARTED_BYTES)
      throw new TypeError(`A departed handle keeps at most ${MAX_DEPARTED_BYTES} bytes, got ${blob.length}`)
  }
  if (taken !== undefined) checkHandle(taken)
  return { handles, departed: departed.slice(-MAX_DEPARTED), departedTtlMs: wholeTtl(departedTtlMs), taken }
}

/** The raising with a whole lifetime. */
export function wholeRaising(raising: Raising): Raising {
  const { keepMs, epoch } = raising
  if (epoch !== undefined && !(Number.isSafeInteger(epoch) && epoch > 0)) {
    throw new TypeError(`An epoch must be a whole number of at least 1, got ${epoch}`)
  }
  return { keepMs: wholeTtl(keepMs), epoch }
}

/** The order that a page of a roster stays below, as {@link Roster.next} names it. */
export function orderOf(cursor: string): number {
  // The server's words for what somebody plants.
  const order = Number(cursor.replace('inf', 'Infinity'))
  if (Number.isNaN(order)) throw new TypeError('A cursor must be one that a roster answered')
  return order
}
