import type { Enrolment } from '../../../lib/backend/registry.ts'
import { MAX_DEPARTED } from '../../../lib/backend/registry.ts'

interface Entry {
  readonly handle: string
  order: number
  seenAtMs: number
  expiresAtMs: number
}

interface Member extends Entry {
  /** By when it must be taken; none once it is. */
  takenByMs: number | undefined
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
  members: Member[] = []
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

  /** The answer that is due, once what was not taken in time has been displaced. */
  answerTo(enrolment: Enrolment): 'enrolled' | 'crowded' | 'full' | 'gone' {
    const { handle, cap = Number.POSITIVE_INFINITY, beyondCap, takenWithinMs } = enrolment
    if (this.#expiry(enrolment) <= this.nowMs) return 'gone'
    const own = this.members.find((entry) => entry.handle === handle)
    if (own?.takenByMs !== undefined) own.takenByMs = this.nowMs + takenWithinMs
    this.#displace(({ takenByMs = Number.POSITIVE_INFINITY }) => takenByMs < this.nowMs)
    if (this.pending.some((entry) => entry.handle === handle)) return 'crowded'
    const isMember = this.members.some((entry) => entry.handle === handle)
    if (beyondCap === 'refuse') return isMember || this.members.length < cap ? 'enrolled' : 'full'
    const surplus = this.members.length + (isMember ? 0 : 1) - cap
    const oldest = this.members.slice(0, Math.max(0, surplus))
    this.#displace((member) => oldest.includes(member))
    return this.pending.some((entry) => entry.handle === handle) ? 'crowded' : 'enrolled'
  }

  /** How many count. */
  count(): number {
    return this.members.filter(({ takenByMs = Number.POSITIVE_INFINITY }) => takenByMs >= this.nowMs).length
  }

  find(handle: string): Entry | undefined {
    return [...this.members, ...this.pending].find((entry) => entry.handle === handle)
  }

  enroll(enrolment: Enrolment, { epoch, order }: { epoch: number; order: number }): void {
    const { handle, takenWithinMs } = enrolment
    const expiresAtMs = this.#expiry(enrolment)
    const takenByMs = this.nowMs + takenWithinMs
    const known = this.members.find((entry) => entry.handle === handle)
    if (known) Object.assign(known, { seenAtMs: this.nowMs, expiresAtMs })
    if (known?.takenByMs !== undefined) known.takenByMs = takenByMs
    if (!known) this.members.push({ handle, order, seenAtMs: this.nowMs, expiresAtMs, takenByMs })
    this.setEpoch(epoch)
    this.lastOrder = Math.max(this.lastOrder, order)
    this.#keep(expiresAtMs)
  }

  take(handle: string): void {
    const member = this.members.find((entry) => entry.handle === handle)
    if (member) member.takenByMs = undefined
  }

  extend({ handle, ...lifetime }: { handle: string; ttlMs: number; endsAtMs?: number | undefined }): boolean {
    const member = this.members.find((entry) => entry.handle === handle)
    const expiresAtMs = this.#expiry(lifetime)
    if (member === undefined || expiresAtMs <= this.nowMs) return false
    Object.assign(member, { seenAtMs: this.nowMs, expiresAtMs, takenByMs: undefined })
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

  #displace(isDue: (member: Member) => boolean): void {
    this.pending.push(...this.members.filter(isDue))
    this.members = this.members.filter((member) => !isDue(member))
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
