import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { failureOf } from '../store/failure-of.ts'
import { SECRET } from '../store/parts-store.ts'
import { freshPrefix } from '../store/stores.ts'
import { until } from '../support/until.ts'
import { startCluster, type ValkeyCluster, type ValkeyServer } from '../support/valkey.ts'
import { collect } from './collected-endings.ts'
import { type Round, SignInProcesses } from './concurrent-sign-ins.ts'
import { newSid, newUser, registered, signIn, signInTimes, validOf } from './requests.ts'

const CAPS = [1, 5]
const SIGN_INS = 100
const ROUNDS_PER_CAP = 3

describe('on a cluster of three primaries, each with a replica', () => {
  const prefix = freshPrefix()
  let cluster: ValkeyCluster
  let processes: SignInProcesses
  const stores: SessionStore[] = []

  beforeAll(async () => {
    cluster = await startCluster({ primaries: 3, replicas: 1 })
    const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
    processes = await SignInProcesses.start(2, { connection: { nodes }, prefix, caps: CAPS })
    const open = () =>
      new ValkeyStore({
        connection: { nodes },
        prefix: `${prefix}-all`,
        secrets: [SECRET],
        connectTimeoutMs: 10_000,
        commandTimeoutMs: 10_000,
      })
    stores.push(open(), open())
  })
  afterAll(async () => {
    await processes?.stop()
    await Promise.all(stores.map((store) => store.close()))
    await cluster.stop()
  })

  async function namesOn(server: ValkeyServer, prefixOfStore: string): Promise<string[]> {
    const client = server.client()
    const names = await client.keys(`${prefixOfStore}:r:*`)
    client.disconnect()
    return names
  }

  async function records(prefixOfStore: string): Promise<string[]> {
    return (await Promise.all(cluster.primaries.map((server) => namesOn(server, prefixOfStore)))).flat()
  }

  /** At no instant are all nodes seen at once; but what two looks in a row both find was there between them. */
  async function sampled(cap: number, work: Promise<Round>): Promise<{ round: Round; samples: number[] }> {
    const samples: number[] = []
    let isOver = false
    const round = work.finally(() => {
      isOver = true
    })
    let before = await records(`${prefix}-${cap}`)
    // The last two begin when everything is done, so that what stands then is among the samples.
    for (let left = 2; left > 0; ) {
      if (isOver) left -= 1
      const now = await records(`${prefix}-${cap}`)
      samples.push(now.filter((name) => before.includes(name)).length)
      before = now
    }
    return { round: await round, samples }
  }

  test.each(CAPS)(
    `${SIGN_INS} sign-ins at once through 2 processes, ${ROUNDS_PER_CAP} times, leave exactly the last %i`,
    async (cap) => {
      for (let time = 1; time <= ROUNDS_PER_CAP; time += 1) {
        const settled = (time - 1) * cap
        const { round, samples } = await sampled(cap, processes.round(cap, SIGN_INS))

        const last = round.newestFirst.slice(0, cap)
        expect(new Set(round.orders).size).toBe(SIGN_INS)
        expect(round.accepted.toSorted()).toEqual(last.toSorted())
        expect(round.evicted.toSorted()).toEqual(
          round.handles.filter((handle) => !last.includes(handle)).toSorted(),
        )
        // The users of the rounds before this one keep theirs.
        expect(Math.max(...samples) - settled).toBe(cap)
      }
    },
  )

  test('the sessions of a user lie on several nodes, and are listed, ended and told of together', async () => {
    const [store, other] = stores as [SessionStore, SessionStore]
    const user = newUser()
    const sids = await signInTimes(store, user, 30)
    const heard = collect(other.registry.watch({ userId: user }))

    const listed = await registered(other, user)
    const spread = await Promise.all(cluster.primaries.map((server) => namesOn(server, `${prefix}-all`)))
    const { ended } = await store.registry.endAll(user, { except: { sid: sids[0] ?? '' } })

    expect(listed).toEqual(sids.toReversed().map((sid) => store.handle(sid)))
    expect(spread.every((names) => names.length > 0)).toBe(true)
    expect(ended).toHaveLength(29)
    expect(await validOf(other, sids)).toEqual([sids[0]])
    await until(() => heard.endings.length === 29)
  })

  test('an end of all beside 100 sign-ins ends all who were listed before it', async () => {
    const [store, other] = stores as [SessionStore, SessionStore]
    const user = newUser()
    const before = await signInTimes(store, user, 20)
    const sids = Array.from({ length: 100 }, newSid)

    const signIns = sids.map((sid) => failureOf(signIn(other, user, sid)))
    await store.registry.endAll(user)
    const failures = await Promise.all(signIns)

    expect(await validOf(store, before)).toEqual([])
    const granted = sids.filter((_, at) => failures[at] === undefined)
    const valid = await validOf(store, sids)
    expect(granted).toEqual(expect.arrayContaining(valid))
    expect((await registered(store, user)).toSorted()).toEqual(
      valid.map((sid) => store.handle(sid)).toSorted(),
    )
  })
})
