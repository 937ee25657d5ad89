import session from 'express-session'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { SEED } from '../support/seed.ts'
import { COOKIE_SECRET } from './app.ts'
import { generateSession, type LiveSession, loadSession, storedContent } from './live-session.ts'
import { InProcessKind, type StoreKind, ValkeyKind } from './stores.ts'

const RUNS = inject('suite') === 'long' ? 120 : 40

type Content = Readonly<Record<string, unknown>>

/** What a command did, in a form that two stores can be compared by: a value, or the code of an error. */
type Outcome = unknown

async function outcomeOf(work: Promise<unknown>): Promise<Outcome> {
  try {
    return (await work) ?? 'done'
  } catch (error) {
    return (error as { code?: unknown }).code ?? error
  }
}

const contentOf = ({ cookie: _, ...content }: LiveSession): Content => ({ ...content })

/** One store, and the sessions that requests hold of it, by slot. */
class World {
  readonly store: SessionStore
  readonly copies: LiveSession[] = []
  stamps = 0
  #generated = 0

  constructor(store: SessionStore) {
    this.store = store
    const genid = () => {
      this.#generated += 1
      return `generated${this.#generated}`
    }
    session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false, genid })
  }

  /** As an app does that replaces a session without `regenerate`. */
  async replace(slot: number): Promise<Outcome> {
    const { req } = this.copies[slot] as unknown as { req: { session: LiveSession; sessionID: string } }
    await new Promise((resolve) => req.session.destroy(resolve))
    this.store.generate(req as never)
    this.copies[slot] = req.session
    return req.sessionID
  }

  reload(slot: number): Promise<Outcome> {
    const copy = this.copies[slot] as LiveSession
    const reloaded = new Promise<void>((resolve, reject) => {
      copy.reload((error: unknown) => (error ? reject(error) : resolve()))
    })
    return outcomeOf(
      reloaded.then(() => {
        this.copies[slot] = (copy as unknown as { req: { session: LiveSession } }).req.session
      }),
    )
  }

  regenerate(slot: number): Promise<Outcome> {
    const { req } = this.copies[slot] as unknown as { req: { session: LiveSession; sessionID: string } }
    const regenerated = new Promise<void>((resolve, reject) => {
      this.store.regenerate(req as never, (error) => (error ? reject(error) : resolve()))
    })
    return outcomeOf(
      regenerated.then(() => {
        this.copies[slot] = req.session
        return req.sessionID
      }),
    )
  }
}

/** What a copy was in step with, and what it is. */
interface ModelCopy {
  readonly sid: string
  /** Whether it has the methods that the store gives a session. */
  readonly isOurs: boolean
  /** Whom its request came as before; `isEnded` if that was over before it was replaced. */
  readonly follows?:
    | { readonly userId: unknown; readonly round: number; readonly isEnded: boolean }
    | undefined
  base: Content | undefined
  now: Record<string, unknown>
}

/** What the stores have to do, said as simply as it can be. */
class Model {
  readonly stored = new Map<string, Content>()
  readonly ended = new Set<string>()
  readonly copies: ModelCopy[] = []
  /** How often all sessions of a user were ended. */
  readonly rounds = new Map<unknown, number>()
  generated = 0
  stamps = 0

  save(slot: number): Outcome {
    const copy = this.copy(slot)
    this.stamps += 1
    copy.now['stamp'] = this.stamps
    const stands = this.stored.get(copy.sid)
    if (this.ended.has(copy.sid) || this.isOver(copy)) return 'ERR_SESSION_ENDED'
    if (stands !== undefined && copy.base === undefined) return 'ERR_SESSION_CONFLICT'
    const merged = stands === undefined ? copy.now : merge(copy.base ?? {}, copy.now, stands)
    this.stored.set(copy.sid, { ...merged })
    copy.base = { ...merged }
    copy.now = { ...merged }
    return 'done'
  }

  /** Whether it would carry on what was ended. */
  isOver({ now, base, follows }: ModelCopy): boolean {
    const userId = now['userId']
    if (userId === undefined || userId === base?.['userId'] || follows?.userId !== userId) return false
    return follows.isEnded || follows.round < this.roundOf(userId)
  }

  roundOf(userId: unknown): number {
    return this.rounds.get(userId) ?? 0
  }

  endAll(userId: unknown): Outcome {
    this.rounds.set(userId, this.roundOf(userId) + 1)
    for (const [sid, content] of this.stored) if (content['userId'] === userId) this.destroy(sid)
    return 'done'
  }

  /** Ends a copy's session and puts a new one in its place; `by: 'regenerate'` does not if a user's had ended before. */
  replace(slot: number, by: 'regenerate' | 'hand'): Outcome {
    const copy = this.copy(slot)
    const userId = copy.base?.['userId']
    const stands = this.stored.get(copy.sid)
    this.destroy(copy.sid)
    const isEnded = userId !== undefined && stands?.['userId'] !== userId
    if (isEnded && by === 'regenerate') return 'ERR_SESSION_ENDED'
    this.generated += 1
    const sid = `generated${this.generated}`
    const follows = userId === undefined ? copy.follows : { userId, round: this.roundOf(userId), isEnded }
    this.copies[slot] = { sid, isOurs: true, follows, base: undefined, now: {} }
    return sid
  }

  reload(slot: number): Outcome {
    const copy = this.copy(slot)
    const stands = this.stored.get(copy.sid)
    if (stands === undefined) return 'ERR_SESSION_ENDED'
    this.copies[slot] = { ...copy, base: stands, now: { ...stands } }
    return 'done'
  }

  destroy(sid: string): Outcome {
    this.stored.delete(sid)
    this.ended.add(sid)
    return 'done'
  }

  copy(slot: number): ModelCopy {
    const copy = this.copies[slot]
    if (copy === undefined) throw new Error('No command is run on a slot that is not there')
    return copy
  }
}

function merge(base: Content, ours: Content, theirs: Content): Content {
  const merged: Record<string, unknown> = { ...theirs }
  for (const key of new Set([...Object.keys(base), ...Object.keys(ours)])) {
    if (base[key] === ours[key]) continue
    if (key in ours) merged[key] = ours[key]
    else delete merged[key]
  }
  return merged
}

type Worlds = readonly World[]

/** A command in three forms: on the model, on a store, and in words. */
class Command implements fc.AsyncCommand<Model, Worlds> {
  readonly #name: string
  readonly #parts: CommandParts

  constructor(name: string, parts: CommandParts) {
    this.#name = name
    this.#parts = parts
  }

  check(model: Readonly<Model>): boolean {
    const { slot, needsOurs = false } = this.#parts
    return slot === undefined || (slot < model.copies.length && (!needsOurs || model.copy(slot).isOurs))
  }

  async run(model: Model, worlds: Worlds): Promise<void> {
    const expected = this.#parts.expect(model)
    const outcomes = await Promise.all(worlds.map((world) => this.#parts.run(world)))
    for (const outcome of outcomes) expect(outcome).toEqual(expected)
    await Promise.all(worlds.map((world) => agrees(model, world)))
  }

  toString(): string {
    return this.#name
  }
}

interface CommandParts {
  /** The copy it needs, if any. */
  readonly slot?: number
  readonly needsOurs?: boolean
  expect(model: Model): Outcome
  run(world: World): Promise<Outcome>
}

/** Every session of a store is as the model has it; what has ended is nowhere. */
async function agrees(model: Model, { store, copies }: World): Promise<void> {
  const sids = [...model.stored.keys(), ...model.ended]
  const found = await Promise.all(sids.map((sid) => storedContent(store, sid)))
  expect(found).toEqual(sids.map((sid) => model.stored.get(sid)))
  expect((await store.ids()).sort()).toEqual([...model.stored.keys()].map((sid) => store.handle(sid)).sort())
  expect(copies.map(contentOf)).toEqual(model.copies.map(({ now }) => now))
}

// Few enough that commands meet.
const sids = fc.constantFrom('one', 'two')
const slots = fc.nat({ max: 4 })
const keys = fc.constantFrom('a', 'b', 'c', 'd')
const users = fc.constantFrom('ann', 'bob')
const values = fc.oneof(fc.nat(3), fc.constantFrom('x', null, true))

const create = (sid: string) =>
  new Command(`create ${sid}`, {
    expect: (model) => void model.copies.push({ sid, isOurs: false, base: undefined, now: {} }),
    run: async ({ copies, store }) => void copies.push(generateSession(store, sid)),
  })

const load = (sid: string) =>
  new Command(`load ${sid}`, {
    expect(model) {
      const stands = model.stored.get(sid)
      if (stands !== undefined) model.copies.push({ sid, isOurs: true, base: stands, now: { ...stands } })
      return stands !== undefined
    },
    async run({ copies, store }) {
      const live = await loadSession(store, sid)
      if (live !== undefined) copies.push(live)
      return live !== undefined
    },
  })

const change = (slot: number, key: string, value: unknown) =>
  new Command(`change ${key} of copy ${slot} to ${String(value)}`, {
    slot,
    expect: (model) => void Object.assign(model.copy(slot).now, { [key]: value }),
    run: async ({ copies }) => void Object.assign(copies[slot] ?? {}, { [key]: value }),
  })

const remove = (slot: number, key: string) =>
  new Command(`remove ${key} of copy ${slot}`, {
    slot,
    expect: (model) => void Reflect.deleteProperty(model.copy(slot).now, key),
    run: async ({ copies }) => void Reflect.deleteProperty(copies[slot] ?? {}, key),
  })

// Stamped, so that there is always something to save: what has not changed is not sent at all.
const save = (slot: number) =>
  new Command(`stamp and save copy ${slot}`, {
    slot,
    expect: (model) => model.save(slot),
    run(world) {
      world.stamps += 1
      const copy = world.copies[slot] as LiveSession
      copy['stamp'] = world.stamps
      return outcomeOf(world.store.set(copy.id, copy))
    },
  })

const touch = (slot: number) =>
  new Command(`touch copy ${slot}`, {
    slot,
    expect(model) {
      const { sid, base } = model.copy(slot)
      return base !== undefined && model.ended.has(sid) ? 'ERR_SESSION_ENDED' : 'done'
    },
    run: ({ copies, store }) => outcomeOf(store.touch(copies[slot]?.id ?? '', copies[slot] as LiveSession)),
  })

const destroy = (sid: string) =>
  new Command(`destroy ${sid}`, {
    expect: (model) => model.destroy(sid),
    run: ({ store }) => outcomeOf(store.destroy(sid)),
  })

const write = (sid: string, key: string, value: unknown) =>
  new Command(`write ${key} of ${sid} as a script does`, {
    expect(model) {
      if (model.ended.has(sid)) return 'ERR_SESSION_ENDED'
      model.stored.set(sid, { [key]: value })
      return 'done'
    },
    run: ({ store }) => outcomeOf(store.set(sid, { cookie: {}, [key]: value } as never)),
  })

const regenerate = (slot: number) =>
  new Command(`regenerate copy ${slot}`, {
    slot,
    expect: (model) => model.replace(slot, 'regenerate'),
    run: (world) => world.regenerate(slot),
  })

const replace = (slot: number) =>
  new Command(`replace copy ${slot} by hand`, {
    slot,
    needsOurs: true,
    expect: (model) => model.replace(slot, 'hand'),
    run: (world) => world.replace(slot),
  })

const reload = (slot: number) =>
  new Command(`reload copy ${slot}`, {
    slot,
    needsOurs: true,
    expect: (model) => model.reload(slot),
    run: (world) => world.reload(slot),
  })

const endAll = (userId: string) =>
  new Command(`end all sessions of ${userId}`, {
    expect: (model) => model.endAll(userId),
    run: ({ store }) => outcomeOf(store.registry.endAll(userId).then(() => undefined)),
  })

const commands = fc.commands(
  [
    sids.map(create),
    sids.map(load),
    sids.map(load),
    sids.map(load),
    fc.tuple(slots, keys, values).map((args) => change(...args)),
    fc.tuple(slots, keys).map((args) => remove(...args)),
    slots.map(save),
    slots.map(save),
    slots.map(save),
    slots.map(touch),
    sids.map(destroy),
    fc.tuple(sids, keys, values).map((args) => write(...args)),
    slots.map(regenerate),
    slots.map(replace),
    slots.map(reload),
    fc.tuple(slots, fc.constant('userId'), users).map((args) => change(...args)),
    fc.tuple(slots, fc.constant('userId'), users).map((args) => change(...args)),
    users.map(endAll),
  ],
  { maxCommands: 50, size: 'max' },
)

/** Lifetimes of which each is another, so that every touch is due, however soon it comes. */
function everLonger(): () => number {
  let ttl = 3600
  return () => {
    ttl += 1
    return ttl
  }
}

describe('the stores of both kinds', () => {
  const kinds: readonly StoreKind[] = [new InProcessKind(), new ValkeyKind()]
  beforeAll(() => Promise.all(kinds.map((kind) => kind.start())))
  afterAll(() => Promise.all(kinds.map((kind) => kind.stop())))

  test('do what the model does, command by command, and so the same', async () => {
    let count = 0

    await fc.assert(
      fc.asyncProperty(commands, async (run) => {
        const setup = () => ({
          model: new Model(),
          real: kinds.map((kind) => new World(kind.place().open({ touchAfter: 0, ttl: everLonger() }))),
        })
        await fc.asyncModelRun(setup, run)
        count += 1
      }),
      { seed: SEED, numRuns: RUNS },
    )

    expect(count).toBe(RUNS)
  })

  test('are caught when they do not: a store that takes the last write for the whole session', async () => {
    const [kind = new InProcessKind()] = kinds
    const setup = () => ({
      model: new Model(),
      real: [new World(kind.place().open({ concurrency: 'overwrite' }))],
    })

    const details = await fc.check(
      fc.asyncProperty(commands, async (run) => fc.asyncModelRun(setup, run)),
      { seed: SEED, numRuns: 300 },
    )

    expect(details.failed).toBe(true)
  })
})
