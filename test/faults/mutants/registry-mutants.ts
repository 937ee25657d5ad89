import type { Mutant } from './mutant.ts'

const ENROLL = 'backend/valkey/scripts/enroll.ts'
const SAVER = 'store/session-saver.ts'
const ENROLMENT = 'registry/membership.ts'

/** Mutants of how sessions come into, stay in and leave their user's registry. */
export const registryMutants: readonly Mutant[] = [
  {
    name: 'nobody counts the sessions of a user',
    patches: [{ file: ENROLL, from: '+ (joined and 0 or 1) - cap or 0', to: '* 0 or 0' }],
    found: ['more sessions than allowed'],
  },
  {
    name: 'the sessions of a user are counted before the new one is added',
    patches: [
      {
        file: ENROLMENT,
        from: 'const reply = await registry.enroll(owner, { ...term, cap, beyondCap })',
        to: `const { members } = await registry.roster(owner)
          const older = members.map((member) => member.handle).filter((other) => other !== handle)
          const enrolled = await registry.enroll(owner, { ...term, cap: undefined, beyondCap })
          const pending = older.slice(0, Math.max(0, older.length + 1 - (cap ?? 0)))
          const reply = enrolled.answer === 'enrolled' ? { ...enrolled, pending } : enrolled`,
      },
    ],
    found: ['more sessions than allowed'],
  },
  {
    name: 'who is displaced is forgotten',
    patches: [
      { file: ENROLL, from: `if #moved > 0 then redis.call('ZADD', pending, unpack(moved)) end`, to: '' },
    ],
    found: ['more sessions than allowed', 'not in the registry'],
  },
  {
    name: 'who is displaced is not ended',
    patches: [
      {
        file: ENROLMENT,
        from: 'if (pending.length === 0) return []',
        to: 'if (pending.length >= 0) return []',
      },
    ],
    found: ['more sessions than allowed'],
  },
  {
    name: 'who is displaced is ended after the new session is granted',
    patches: [
      {
        file: ENROLMENT,
        from: 'const struck = await this.#displace(owner, handle, reply.pending)',
        to: 'const struck = reply.pending',
      },
      { file: ENROLMENT, from: 'struck: readonly Struck[]): Place', to: 'struck: readonly string[]): Place' },
      {
        file: ENROLMENT,
        from: 'await ender.withdraw(owner, struck, isStored ? handle : undefined) if (isStored',
        // The wait makes the moment long enough to be met.
        to: `await new Promise((done) => setTimeout(done, 30))
          await ender.withdraw(owner, await this.#displace(owner, handle, struck), handle); if (isStored`,
      },
    ],
    found: ['more sessions than allowed'],
  },
  {
    name: 'a session is stored before it is registered',
    patches: [
      {
        file: SAVER,
        from: 'return enrolment.admit({ handle, owner, device, ttlMs, meta, predecessor: copy?.predecessor })',
        to: `return {
          meta: { ...meta, owner, epoch: Number.MAX_SAFE_INTEGER },
          settle: async () => (await enrolment.admit({ handle, owner, device, ttlMs, meta })).settle(true),
        }`,
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
        from: 'await ender.strikeAll(handles, endingOf(terms, await backend.now()))',
        to: 'await ender.strikeAll([], endingOf(terms, await backend.now()))',
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
