import type { WorkloadMutant } from './mutant.ts'

const ENROLL = 'backend/valkey/scripts/enroll.ts'
const SAVER = 'store/save-session.ts'
const MEMBERSHIP = 'registry/membership.ts'

/** Mutants of how sessions come into, stay in and leave their user's registry. */
export const registryMutants: readonly WorkloadMutant[] = [
  {
    name: 'nobody counts the sessions of a user',
    patches: [{ file: ENROLL, from: '+ (joined and 0 or 1) - cap or 0', to: '* 0 or 0' }],
    found: ['more sessions than allowed'],
  },
  {
    name: 'the sessions of a user are counted before the new one is added',
    patches: [
      {
        file: MEMBERSHIP,
        from: 'const reply = await backend.registry.enroll(owner, { ...term, cap, beyondCap })',
        to: `const { members } = await backend.registry.roster(owner)
          const older = members.map((member) => member.handle).filter((other) => other !== handle)
          const enrolled = await backend.registry.enroll(owner, { ...term, cap: undefined, beyondCap })
          const pending = older.slice(0, Math.max(0, older.length + 1 - (cap ?? 0)))
          const reply = enrolled.answer === 'enrolled' ? { ...enrolled, pending } : enrolled`,
      },
    ],
    found: ['more sessions than allowed'],
  },
  {
    name: 'those that the cap evicts are forgotten',
    patches: [
      { file: ENROLL, from: `if #moved > 0 then redis.call('ZADD', pending, unpack(moved)) end`, to: '' },
    ],
    found: ['more sessions than allowed', 'not in the registry'],
  },
  {
    name: 'those that the cap evicts are not ended',
    patches: [
      {
        file: MEMBERSHIP,
        from: 'if (pending.length === 0) return []',
        to: 'if (pending.length >= 0) return []',
      },
    ],
    found: ['more sessions than allowed'],
  },
  {
    name: 'those that the cap evicts are ended after the new session is granted',
    patches: [
      {
        file: MEMBERSHIP,
        from: 'const evicted = await this.#evict(owner, handle, reply.pending)',
        to: 'const evicted = await (Promise.resolve(reply.pending) as Promise<never>)',
      },
      {
        file: MEMBERSHIP,
        from: 'if (confirms !== undefined) await this.#endSessions.remove(confirms, evicted, handle).catch(failInDoubt)',
        // The wait makes the moment long enough to be met.
        to: `await new Promise((done) => setTimeout(done, 30))
          const { ended } = await this.#endSessions.endRecords(evicted as never, EVICTED)
          if (confirms !== undefined) await this.#endSessions.remove(confirms, ended, handle).catch(failInDoubt)`,
      },
    ],
    found: ['more sessions than allowed'],
  },
  {
    name: 'a session is stored before it is registered',
    patches: [
      {
        file: SAVER,
        from: 'registration: await membership.register({ handle, owner, device, ttlMs, meta, predecessor, isNew }),',
        to: `registration: {
          meta: { ...meta, owner, epoch: Number.MAX_SAFE_INTEGER },
          finish: async () =>
            (await membership.register({ handle, owner, device, ttlMs, meta, isNew })).finish('stored'),
          undo: async () => {},
        },`,
      },
    ],
    found: ['not in the registry', 'more sessions than allowed'],
    faults: ['full memory', 'reset'],
  },
  {
    name: 'ending all ends none',
    patches: [
      {
        file: 'registry/session-registry.ts',
        from: 'await endSessions.endRecords(handles, terms)',
        to: 'await endSessions.endRecords([], terms)',
      },
    ],
    found: ['ended session read'],
  },
  {
    name: 'a list needs memory',
    patches: [
      {
        file: 'backend/valkey/scripts/roster.ts',
        from: "defineRegistryScript( 'allow-oom',",
        to: "defineRegistryScript( '',",
      },
    ],
    found: ['refused for no reason'],
    faults: ['full memory'],
  },
  {
    name: 'leaving the registry needs memory',
    patches: [
      {
        file: 'backend/valkey/scripts/withdraw.ts',
        from: `defineRegistryScript( 'allow-oom',`,
        to: `defineRegistryScript('',`,
      },
    ],
    found: ['refused for no reason'],
    faults: ['full memory'],
  },
]
