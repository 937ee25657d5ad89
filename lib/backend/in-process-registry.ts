import { StoreClosedError } from '../errors.ts'
import {
  checkHandle,
  checkOwner,
  orderOf,
  wholeEnrolment,
  wholeExtension,
  wholeRaising,
  wholeWithdrawal,
} from './arguments.ts'
import {
  type Departed,
  type Enrolment,
  type EnrolReply,
  type Extension,
  MAX_DEPARTED,
  PAGE_SIZE,
  type Raising,
  type Registry,
  type Roster,
  type Standing,
  type Withdrawal,
} from './registry.ts'

interface Lapsing {
  readonly expiresAtMs: number
}

interface Enrolled extends Lapsing {
  readonly order: number
  readonly seenAtMs: number
  /** By when it must be taken; none once it is. */
  readonly takenByMs?: number | undefined
}

interface Remembered extends Departed, Lapsing {}

/** What one owner has. The maps are in the order of enrolment and of departure. */
interface OwnerState {
  epoch: number
  lastOrder: number
  untilMs: number
  members: Map<string, Enrolled>
  pending: Map<string, Enrolled>
  departed: Map<string, Remembered>
}

export interface InProcessRegistryOptions {
  /** The clock, in ms, that decides what has expired. */
  readonly clock: { now(): number }
}

/** Keeps registries in the memory of this process. It is the executable specification of {@link Registry}. */
export class InProcessRegistry implements Registry {
  readonly #clock: { now(): number }
  readonly #owners = new Map<string, OwnerState>()
  #isClosed = false

  constructor(options: InProcessRegistryOptions) {
    this.#clock = options.clock
  }

  async enroll(owner: string, enrolment: Enrolment): Promise<EnrolReply> {
    const { handle, cap = Number.POSITIVE_INFINITY, beyondCap, ...lifetime } = wholeEnrolment(enrolment)
    const { state, nowMs } = this.#open(owner)
    const { members, pending } = state
    const expiresAtMs = expiryOf(lifetime, nowMs)
    if (expiresAtMs <= nowMs) return { answer: 'gone' }

    const own = members.get(handle)
    if (own?.takenByMs !== undefined)
      members.set(handle, { ...own, takenByMs: nowMs + lifetime.takenWithinMs })
    const stale = [...members.keys()].filter((each) => isStale(members.get(each), nowMs)).slice(0, PAGE_SIZE)
    displace(stale, state)
    if (pending.has(handle)) return { answer: 'crowded', pending: [handle] }
    if (stale.length === PAGE_SIZE) return { answer: 'crowded', pending: firstPending(state) }
    const known = members.get(handle)
    if (known === undefined && beyondCap === 'refuse' && members.size >= cap) return { answer: 'full' }
    const surplus = beyondCap === 'evict' ? members.size + (known ? 0 : 1) - cap : 0
    const room = PAGE_SIZE - pending.size
    displace([...members.keys()].slice(0, Math.max(0, Math.min(surplus, room))), state)
    if (pending.has(handle)) return { answer: 'crowded', pending: [handle] }
    if (room < 0 || surplus > room) return { answer: 'crowded', pending: firstPending(state) }

    const order = known?.order ?? Math.max(this.#nowMicros(), state.lastOrder + 1)
    const isTaken = known !== undefined && known.takenByMs === undefined
    const takenByMs = isTaken ? undefined : nowMs + lifetime.takenWithinMs
    if (state.epoch === 0) state.epoch = this.#nowMicros()
    state.lastOrder = Math.max(state.lastOrder, order)
    members.set(handle, { order, seenAtMs: nowMs, expiresAtMs, takenByMs })
    this.#keep(owner, state, expiresAtMs)
    return { answer: 'enrolled', epoch: state.epoch, order, seenAtMs: nowMs, pending: firstPending(state) }
  }

  async extend(owner: string, extension: Extension): Promise<Standing> {
    const { handle, isExtension = false, ...lifetime } = wholeExtension(extension)
    const { state, nowMs } = this.#open(owner)
    const member = state.members.get(handle)
    const aimMs = expiryOf(lifetime, nowMs)
    if (member === undefined || aimMs <= nowMs) return { epoch: state.epoch, isMember: false }
    const expiresAtMs = isExtension ? Math.max(aimMs, member.expiresAtMs) : aimMs
    state.members.set(handle, { order: member.order, seenAtMs: nowMs, expiresAtMs })
    this.#keep(owner, state, expiresAtMs)
    return { epoch: state.epoch, isMember: true }
  }

  async standing(owner: string, handle: string): Promise<Standing> {
    checkHandle(handle)
    const { state } = this.#open(owner)
    return { epoch: state.epoch, isMember: state.members.has(handle) }
  }

  async count(owner: string): Promise<number> {
    const { state, nowMs } = this.#open(owner)
    return [...state.members.values()].filter((member) => !isStale(member, nowMs)).length
  }

  async withdraw(owner: string, withdrawal: Withdrawal): Promise<void> {
    const { handles, seenAtMs, departed = [], departedTtlMs, taken } = wholeWithdrawal(withdrawal)
    const { state, nowMs } = this.#open(owner)
    for (const handle of handles) {
      if (seenAtMs !== undefined && state.members.get(handle)?.seenAtMs !== seenAtMs) continue
      state.members.delete(handle)
      state.pending.delete(handle)
    }
    const place = taken === undefined ? undefined : state.members.get(taken)
    if (taken !== undefined && place) state.members.set(taken, { ...place, takenByMs: undefined })
    const expiresAtMs = nowMs + departedTtlMs
    for (const { handle, blob } of departed) {
      if (!state.departed.has(handle))
        state.departed.set(handle, { handle, blob: Buffer.from(blob), expiresAtMs })
    }
    const tooMany = [...state.departed.keys()].slice(0, -MAX_DEPARTED)
    for (const handle of tooMany) state.departed.delete(handle)
    if (departed.length > 0) this.#keep(owner, state, expiresAtMs)
  }

  async roster(owner: string, cursor?: string): Promise<Roster> {
    const below = cursor === undefined ? undefined : orderOf(cursor)
    return rosterOf(this.#open(owner).state, below)
  }

  async raise(owner: string, raising: Raising): Promise<Roster> {
    const { keepMs, epoch } = wholeRaising(raising)
    const { state, nowMs } = this.#open(owner)
    state.epoch = Math.max(state.epoch + (epoch === undefined ? 1 : 0), epoch ?? this.#nowMicros())
    this.#keep(owner, state, nowMs + keepMs)
    return rosterOf(state)
  }

  /** Frees what has expired. */
  sweep(): void {
    for (const owner of this.#owners.keys()) this.#open(owner)
  }

  /** Forgets everything. Later calls reject with `StoreClosedError`. */
  close(): void {
    this.#isClosed = true
    this.#owners.clear()
  }

  /** What the owner has by now. A registry that does not exist comes into being with `#keep`. */
  #open(owner: string): { state: OwnerState; nowMs: number } {
    if (this.#isClosed) throw new StoreClosedError()
    checkOwner(owner)
    const nowMs = Math.floor(this.#clock.now())
    const found = this.#owners.get(owner)
    if (found === undefined || found.untilMs < nowMs) {
      this.#owners.delete(owner)
      return { state: emptyState(), nowMs }
    }
    for (const entries of [found.members, found.pending, found.departed]) dropExpired(entries, nowMs)
    return { state: found, nowMs }
  }

  #keep(owner: string, state: OwnerState, untilMs: number): void {
    state.untilMs = Math.max(state.untilMs, untilMs)
    this.#owners.set(owner, state)
  }

  #nowMicros(): number {
    return Math.floor(this.#clock.now() * 1000)
  }
}

function emptyState(): OwnerState {
  return { epoch: 0, lastOrder: 0, untilMs: 0, members: new Map(), pending: new Map(), departed: new Map() }
}

function expiryOf(
  { ttlMs, endsAtMs }: { ttlMs: number; endsAtMs?: number | undefined },
  nowMs: number,
): number {
  return Math.min(nowMs + ttlMs, endsAtMs ?? Number.POSITIVE_INFINITY)
}

// As a Valkey key does, an entry lives through the ms it expires in.
function dropExpired(entries: Map<string, Lapsing>, nowMs: number): void {
  for (const [key, { expiresAtMs }] of entries) if (expiresAtMs < nowMs) entries.delete(key)
}

function isStale(member: Enrolled | undefined, nowMs: number): boolean {
  return member?.takenByMs !== undefined && member.takenByMs < nowMs
}

function displace(handles: readonly string[], { members, pending }: OwnerState): void {
  for (const handle of handles) {
    const member = members.get(handle)
    members.delete(handle)
    if (member) pending.set(handle, member)
  }
}

function firstPending({ pending }: OwnerState): string[] {
  return [...pending]
    .sort(([, one], [, other]) => one.expiresAtMs - other.expiresAtMs)
    .slice(0, PAGE_SIZE)
    .map(([handle]) => handle)
}

function rosterOf(state: OwnerState, below?: number): Roster {
  const { epoch, members, departed } = state
  const candidates = [...members].filter(([, { order }]) => order < (below ?? Number.POSITIVE_INFINITY))
  const page = candidates.slice(-PAGE_SIZE)
  const oldest = page[0]?.[1].order
  return {
    epoch,
    members: page.map(([handle, { takenByMs, ...member }]) => ({
      handle,
      ...member,
      isTaken: takenByMs === undefined,
    })),
    ...(candidates.length > PAGE_SIZE && { next: String(oldest) }),
    pending: firstPending(state),
    departed:
      below === undefined
        ? [...departed.values()].reverse().map(({ handle, blob }) => ({ handle, blob: Buffer.from(blob) }))
        : [],
  }
}
