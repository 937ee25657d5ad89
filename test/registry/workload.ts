import { expect } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { type LiveSession, loadedSession, loadSession } from '../store/live-session.ts'
import type { Place, StoreKind } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { newSid, newUser, ownerOf, signIn, validates } from './requests.ts'
import { wrapRegistry } from './wrap-registry.ts'

// Two sessions are there before anything happens, and as many may be.
const CAP = 2
const TTL_S = 1000

export const ACTIONS = [
  'sign in',
  'save',
  'touch',
  'read',
  'destroy',
  'end all',
  'end others',
  'switch user',
  'sign out in place',
] as const

export interface Action {
  readonly name: (typeof ACTIONS)[number]
  /** Which of the two first sessions it is about, where it is about one. */
  readonly which: number
}

export interface WorkloadOptions {
  readonly concurrency: 'merge' | 'reject' | 'overwrite'
  readonly verifyOwner: 'touch' | 'always'
  readonly onMaxSessions: 'evict-oldest' | 'reject'
  readonly touchAfter: number
}

// What concurrency may cost an client. Anything else is a failure of ours.
const HAZARDS = ['ERR_SESSION_ENDED', 'ERR_SESSION_CONFLICT', 'ERR_SESSION_LIMIT']

/** Two users, all sessions that they ever have, and what must be true of them at any instant. */
export class Workload {
  readonly backend: Backend
  readonly users = [newUser(), newUser()] as const
  readonly first: string[] = []
  readonly options: WorkloadOptions
  readonly #place: Place
  readonly #observer: SessionStore
  readonly #sids: string[] = []
  readonly #ended = new Set<string>()
  readonly #enrolled = new Map<string, number>()
  readonly #performed: Action[] = []

  private constructor(place: Place, options: WorkloadOptions) {
    this.#place = place
    this.options = options
    this.backend = this.#noting(place.backend())
    this.#observer = place.over(place.backend(), { ttl: TTL_S })
  }

  /** The first of the users has as many sessions as they may have. */
  static async open(kind: StoreKind, options: WorkloadOptions): Promise<Workload> {
    const clock = new TestClock()
    const workload = new Workload(kind.place({ clock }), options)
    const store = workload.store(workload.backend)
    for (let times = 0; times < CAP; times += 1)
      workload.first.push(await signIn(store, workload.users[0], workload.newSid()))
    await kind.pass(2, clock)
    return workload
  }

  store(backend: Backend): SessionStore {
    return this.#place.over(backend, { ttl: TTL_S, maxSessionsPerUser: CAP, ...this.options })
  }

  newSid(): string {
    const sid = newSid()
    this.#sids.push(sid)
    return sid
  }

  /** One who has loaded both sessions, each in a process of their own. */
  async client(backend: Backend, { script, at }: { script: readonly Action[]; at: number }): Promise<Client> {
    this.#performed.push(...script)
    const store = this.store(backend)
    const copies = await Promise.all(this.first.map((sid) => loadedSession(store, sid)))
    return new Client(this, { store, copies, script, name: `client ${at}` })
  }

  /** From now on nobody may see it. */
  noteEnded(...sids: readonly string[]): void {
    for (const sid of sids) this.#ended.add(sid)
  }

  /** The sessions that nobody takes away from the first user but by ending them. */
  settled(): readonly string[] {
    return this.first.filter((_, which) => !this.#isPerformed(which, 'switch user', 'sign out in place'))
  }

  /** What holds at any instant. */
  async check(): Promise<void> {
    const alive = await this.#alive()
    const undead = alive.filter(({ sid }) => this.#ended.has(sid))
    expect(undead, 'sessions that were ended').toEqual([])
    for (const user of this.users) {
      const handles = alive.filter(({ userId }) => userId === user).map(({ handle }) => handle)
      const { members, pending } = await this.backend.registry.roster(ownerOf(user))
      const known = new Set([...members.map(({ handle }) => handle), ...pending])
      expect(
        handles.filter((handle) => !known.has(handle)),
        'living, but not registered',
      ).toEqual([])
      expect(handles.length, 'living sessions').toBeLessThanOrEqual(CAP)
    }
  }

  /** What holds once everyone has finished. */
  async checkEnd(): Promise<void> {
    await this.check()
    const alive = await this.#alive()
    for (const user of this.users) {
      const handles = alive.filter(({ userId }) => userId === user).map(({ handle }) => handle)
      const { members, pending } = await this.backend.registry.roster(ownerOf(user))
      expect(members.map(({ handle }) => handle).sort(), 'registered sessions').toEqual(handles.sort())
      expect(
        handles.filter((handle) => pending.includes(handle)),
        'displaced sessions that live',
      ).toEqual([])
    }
    const aliveSids = alive.map(({ sid }) => sid)
    expect(aliveSids, 'sessions nobody ended').toEqual(expect.arrayContaining(this.#unthreatened()))
    if (this.#isOnlyAboutTheCap())
      expect(aliveSids.sort(), 'the newest sessions').toEqual(this.#newest().sort())
    const strict = this.#place.over(this.backend, { ttl: TTL_S, verifyOwner: 'always' })
    for (const sid of aliveSids)
      expect(await validates(strict, sid), 'a living session, on a strict look').toBe(true)
  }

  async #alive() {
    const found = await Promise.all(
      this.#sids.map(async (sid) => {
        const data = (await this.#observer.get(sid)) as { userId?: string } | null
        return data && { sid, handle: this.#observer.handle(sid), userId: data.userId }
      }),
    )
    return found.filter((session) => session !== null)
  }

  #noting(backend: Backend): Backend {
    return wrapRegistry(backend, {
      enroll: async (owner, enrolment) => {
        const reply = await backend.registry.enroll(owner, enrolment)
        if (reply.answer === 'enrolled') this.#enrolled.set(enrolment.handle, reply.order)
        return reply
      },
    })
  }

  #isPerformed(which: number | undefined, ...names: readonly Action['name'][]): boolean {
    return this.#performed.some(
      (action) => names.includes(action.name) && (which === undefined || action.which === which),
    )
  }

  #unthreatened(): string[] {
    const isCrowded =
      this.options.onMaxSessions === 'evict-oldest' && this.#isPerformed(undefined, 'sign in', 'switch user')
    if (isCrowded || this.#isPerformed(undefined, 'end all')) return []
    return this.first.filter(
      (_, which) => !this.#isPerformed(which, 'destroy') && !this.#isPerformed(1 - which, 'end others'),
    )
  }

  #isOnlyAboutTheCap(): boolean {
    return !this.#isPerformed(
      undefined,
      'destroy',
      'end all',
      'end others',
      'switch user',
      'sign out in place',
    )
  }

  #newest(): string[] {
    const order = (sid: string) => this.#enrolled.get(this.#observer.handle(sid)) ?? 0
    return this.#sids
      .filter((sid) => order(sid) > 0)
      .sort((a, b) => order(b) - order(a))
      .slice(0, CAP)
  }
}

interface ClientParts {
  readonly store: SessionStore
  readonly copies: readonly LiveSession[]
  readonly script: readonly Action[]
  readonly name: string
}

/** Does what its script says, with what it had loaded before. */
export class Client {
  readonly #workload: Workload
  readonly #parts: ClientParts

  constructor(workload: Workload, parts: ClientParts) {
    this.#workload = workload
    this.#parts = parts
  }

  async run(): Promise<void> {
    for (const action of this.#parts.script) await this.#perform(action).catch(expectHazard)
  }

  async #perform({ name, which }: Action): Promise<void> {
    const { store, copies } = this.#parts
    const { first, users } = this.#workload
    const [sid = '', copy] = [first[which], copies[which]]
    if (copy === undefined) throw new Error('There are as many copies as sessions')
    const [user, other] = users
    if (name === 'sign in') await signIn(store, user, this.#workload.newSid())
    if (name === 'save') await store.set(sid, Object.assign(copy, { [this.#parts.name]: true }))
    if (name === 'touch') await store.touch(sid, copy)
    if (name === 'read') await loadSession(store, sid)
    if (name === 'switch user') await store.set(sid, Object.assign(copy, { userId: other }))
    if (name === 'sign out in place') await this.#signOut(sid, copy)
    if (name === 'destroy') await this.#destroy(sid)
    if (name === 'end all') await this.#endAll(user)
    if (name === 'end others') await this.#endAll(user, sid)
  }

  async #signOut(sid: string, copy: LiveSession): Promise<void> {
    Reflect.deleteProperty(copy, 'userId')
    await this.#parts.store.set(sid, copy)
  }

  async #destroy(sid: string): Promise<void> {
    await this.#parts.store.destroy(sid)
    this.#workload.noteEnded(sid)
  }

  async #endAll(user: string, except?: string): Promise<void> {
    const begun = this.#workload.settled()
    await this.#parts.store.registry.endAll(user, except === undefined ? {} : { except: { sid: except } })
    this.#workload.noteEnded(...begun.filter((sid) => sid !== except))
  }
}

function expectHazard(error: { readonly code?: string; readonly message?: string }): void {
  if (error.message?.includes('"except"')) return
  if (!HAZARDS.includes(error.code ?? '')) throw error
}
