import type { Enrolment } from '../../../lib/backend/registry.ts'
import { MAX_DEPARTED } from '../../../lib/backend/registry.ts'

interface Entry {
  readonly handle: string
  order: number
  seenAtMs: number
  expiresAtMs: number
}

interface Left {
  readonly handle: string
  readonly blob: Buffer
  readonly expiresAtMs: number
}

/** What a registry must hold, in plain lists and with a clock of its own. Epochs and orders are told to it. */
export class RegistryModel {
  nowMs = 0
  epoch = 0
  highestEpoch = 0
  lastOrder = 0
  untilMs = -1
  members: Entry[] = []
  pending: Entry[] = []
  departed: Left[] = []

  elapse(ms: number): void {
    this.nowMs += ms
    const lives = ({ expiresAtMs }: { expiresAtMs: number }) => expiresAtMs >= this.nowMs
    this.members = this.members.filter(lives)
    this.pending = this.pending.filter(lives)
    this.departed = this.departed.filter(lives)
    if (this.untilMs >= this.nowMs) return
    this.epoch = 0
    this.untilMs = -1
  }

  /** The answer that is due; nothing is changed. */
  answerTo(enrolment: Enrolment): 'enrolled' | 'full' | 'gone' {
    if (this.#expiry(enrolment) <= this.nowMs) return 'gone'
    if (this.find(enrolment.handle) || enrolment.beyondCap === 'evict' || enrolment.cap === undefined)
      return 'enrolled'
    return this.members.length < enrolment.cap ? 'enrolled' : 'full'
  }

  find(handle: string): Entry | undefined {
    return [...this.members, ...this.pending].find((entry) => entry.handle === handle)
  }

  enroll(enrolment: Enrolment, { epoch, order }: { epoch: number; order: number }): void {
    const { handle, cap, beyondCap } = enrolment
    if (this.pending.some((entry) => entry.handle === handle)) return
    const expiresAtMs = this.#expiry(enrolment)
    const known = this.members.find((entry) => entry.handle === handle)
    if (known) Object.assign(known, { seenAtMs: this.nowMs, expiresAtMs })
    if (!known) this.members.push({ handle, order, seenAtMs: this.nowMs, expiresAtMs })
    this.setEpoch(epoch)
    this.lastOrder = Math.max(this.lastOrder, order)
    this.#keep(expiresAtMs)
    while (beyondCap === 'evict' && cap !== undefined && this.members.length > cap)
      this.pending.push(...this.members.splice(0, 1))
  }

  extend({ handle, ...lifetime }: { handle: string; ttlMs: number; endsAtMs?: number | undefined }): boolean {
    const member = this.members.find((entry) => entry.handle === handle)
    const expiresAtMs = this.#expiry(lifetime)
    if (member === undefined || expiresAtMs <= this.nowMs) return false
    Object.assign(member, { seenAtMs: this.nowMs, expiresAtMs })
    this.#keep(expiresAtMs)
    return true
  }

  withdraw(
    handles: readonly string[],
    departed: readonly { handle: string; blob: Buffer }[],
    ttlMs: number,
  ): void {
    this.members = this.members.filter(({ handle }) => !handles.includes(handle))
    this.pending = this.pending.filter(({ handle }) => !handles.includes(handle))
    for (const { handle, blob } of departed) {
      if (this.departed.some((left) => left.handle === handle)) continue
      this.departed.push({ handle, blob, expiresAtMs: this.nowMs + ttlMs })
    }
    this.departed = this.departed.slice(-MAX_DEPARTED)
    if (departed.length > 0) this.#keep(this.nowMs + ttlMs)
  }

  raise(epoch: number, keepMs: number): void {
    this.setEpoch(epoch)
    this.#keep(this.nowMs + keepMs)
  }

  setEpoch(epoch: number): void {
    this.epoch = epoch
    this.highestEpoch = Math.max(this.highestEpoch, epoch)
  }

  #expiry({
    ttlMs,
    endsAtMs = Number.POSITIVE_INFINITY,
  }: {
    ttlMs: number
    endsAtMs?: number | undefined
  }): number {
    return Math.min(this.nowMs + ttlMs, endsAtMs)
  }

  #keep(untilMs: number): void {
    this.untilMs = Math.max(this.untilMs, untilMs)
  }
}
