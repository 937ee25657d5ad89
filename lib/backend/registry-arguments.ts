import { checkHandle, checkHardEnd, wholeTtl } from './arguments.ts'
import { type Enrolment, type Extension, MAX_DEPARTED, type Raising, type Withdrawal } from './registry.ts'

/** The extension with a whole lifetime. */
export function wholeExtension(extension: Extension): Extension {
  const { handle, ttlMs, endsAtMs } = extension
  checkHandle(handle)
  checkHardEnd(endsAtMs)
  return { handle, ttlMs: wholeTtl(ttlMs), endsAtMs }
}

/** The enrolment with a whole lifetime. */
export function wholeEnrolment(enrolment: Enrolment): Enrolment {
  const { cap, beyondCap } = enrolment
  if (cap !== undefined && !(Number.isSafeInteger(cap) && cap > 0)) {
    throw new TypeError(`A cap must be a whole number of at least 1, got ${cap}`)
  }
  return { ...wholeExtension(enrolment), cap, beyondCap }
}

/** The withdrawal with a whole lifetime, and no more departed than are remembered. */
export function wholeWithdrawal(withdrawal: Withdrawal): Withdrawal {
  const { handles, departed = [], departedTtlMs } = withdrawal
  for (const handle of handles) checkHandle(handle)
  for (const { handle } of departed) checkHandle(handle)
  return { handles, departed: departed.slice(-MAX_DEPARTED), departedTtlMs: wholeTtl(departedTtlMs) }
}

/** The raising with a whole lifetime. */
export function wholeRaising(raising: Raising): Raising {
  const { keepMs, epoch } = raising
  if (epoch !== undefined && !(Number.isSafeInteger(epoch) && epoch > 0)) {
    throw new TypeError(`An epoch must be a whole number of at least 1, got ${epoch}`)
  }
  return { keepMs: wholeTtl(keepMs), epoch }
}
