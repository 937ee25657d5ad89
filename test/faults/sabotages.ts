import type { Sabotage } from './sabotage.ts'

const LOST_REPLIES = ['drop reply', 'cut inside a reply', 'reset']
const REFUSING = ['no replica', 'failed snapshot', 'demotion to replica']

const PUT = 'backend/valkey/scripts/put-record.ts'
const END = 'backend/valkey/scripts/end-record.ts'
const ENROLL = 'backend/valkey/scripts/enroll.ts'
const LINK = 'backend/valkey/link.ts'
const SAVER = 'store/session-saver.ts'
const ENROLMENT = 'store/enrolment.ts'

/** Sabotages of what keeps a record. */
export const recordSabotages: readonly Sabotage[] = [
  {
    name: 'an update does not look at the version',
    patches: [
      {
        file: PUT,
        from: `if ARGV[1] == 'version' and etag ~= ARGV[2] then return { 'conflict', 0, now } end`,
        to: '',
      },
    ],
    found: ['write lost'],
  },
  {
    name: 'a write does not look for a tombstone',
    patches: [
      {
        file: PUT,
        from: `if redis.call('EXISTS', KEYS[2]) == 1 then return { 'ended', 0, now } end`,
        to: '',
      },
    ],
    found: ['ended session read', 'write after the end'],
  },
  {
    name: 'an end leaves no tombstone',
    patches: [
      { file: END, from: `redis.call('SET', KEYS[2], value, 'PX', isOwned and ARGV[2] or ARGV[3])`, to: '' },
    ],
    found: ['ended session read', 'write after the end'],
  },
  {
    name: 'a sign-out needs memory',
    patches: [{ file: END, from: '#!lua flags=allow-oom', to: '#!lua' }],
    found: ['refused for no reason'],
    faults: ['full memory'],
  },
  {
    name: 'a touch writes the record back',
    patches: [
      {
        file: 'store/session-life.ts',
        from: 'const touched = this.#backend.touch(copy.handle, ttlMs)',
        to: `const touched = this.#records.seal(copy.handle, record)
          .then((sealed) => this.#records.store(sealed, { expect: { kind: 'any' }, ttlMs })).then(() => undefined)`,
      },
    ],
    found: ['write lost'],
  },
  {
    name: 'a repeat takes its own write for a conflict',
    patches: [
      {
        file: PUT,
        from: `if etag == ARGV[6]:sub(-16) then return { 'stored', tonumber(head:sub(2, 14)), now } end`,
        to: '',
      },
      {
        file: 'backend/valkey/valkey-backend.ts',
        from: `value.answer === 'conflict' && mayBeRepeated ? 'unsure' : value.answer`,
        to: 'value.answer',
      },
      {
        file: 'store/session-copy.ts',
        from: 'return this.#attempts.some((attempt) => attempt.equals(etag))',
        to: 'return false && etag',
      },
    ],
    found: ['refused write applied'],
    faults: LOST_REPLIES,
  },
  {
    name: 'a record is named by its session id',
    patches: [
      {
        file: 'store/session-id.ts',
        from: `return hash('sha256', sid, 'base64url')`,
        to: `return (sid + hash('sha256', sid, 'base64url')).replaceAll('.', '_').slice(0, 43)`,
      },
    ],
    found: ['secret leaked'],
  },
  {
    name: 'sessions are signed but not encrypted',
    patches: [{ file: 'store/valkey-store.ts', from: 'encrypt: resolved.encrypt', to: 'encrypt: false' }],
    found: ['secret leaked'],
  },
]

/** Sabotages of what makes failures quick and honest. */
export const failureSabotages: readonly Sabotage[] = [
  {
    name: 'an outage is no session',
    patches: [
      {
        file: 'store/session-records.ts',
        from: 'await this.#parts.backend.get(handle, maxBlobBytes(this.#parts.maxBytes))',
        to: 'await this.#parts.backend.get(handle, maxBlobBytes(this.#parts.maxBytes)).catch(() => undefined)',
      },
    ],
    found: ['session missing'],
    faults: LOST_REPLIES,
  },
  {
    name: 'an open breaker is no session',
    patches: [
      {
        file: 'store/session-records.ts',
        from: 'await this.#parts.backend.get(handle, maxBlobBytes(this.#parts.maxBytes))',
        to: `await this.#parts.backend.get(handle, maxBlobBytes(this.#parts.maxBytes))
          .catch((error) => { if (error.reason !== 'breaker-open') throw error })`,
      },
    ],
    found: ['session missing'],
    faults: ['refuse', 'accept then close'],
    lastingMs: 250,
  },
  {
    name: 'an outage is announced as express-session knows it',
    patches: [
      {
        file: 'store/session-store.ts',
        from: 'handle === undefined ? undefined : await this.#life.load(handle)',
        to: `handle === undefined ? undefined
          : await this.#life.load(handle).catch((error) => { this.emit('disconnect'); throw error })`,
      },
    ],
    found: ['forbidden event'],
    faults: LOST_REPLIES,
  },
  {
    name: 'a failure keeps the client’s command',
    patches: [
      {
        file: LINK,
        from: 'settle({ failure: classifyFailure(error) })',
        to: 'settle({ failure: { ...classifyFailure(error), error } })',
      },
      {
        file: LINK,
        from: 'throw toError({ ...failure, mayBeApplied: mayBeRepeated })',
        to: 'throw Object.assign(toError({ ...failure, mayBeApplied: mayBeRepeated }), { command: failure.error?.command })',
      },
    ],
    found: ['secret leaked'],
    faults: REFUSING,
  },
  {
    name: 'a client’s own error gets out',
    patches: [
      {
        file: LINK,
        from: 'settle({ failure: classifyFailure(error) })',
        to: 'settle({ failure: { ...classifyFailure(error), error } })',
      },
      {
        file: LINK,
        from: 'throw toError({ ...failure, mayBeApplied: mayBeRepeated })',
        to: 'throw failure.error ?? toError({ ...failure, mayBeApplied: mayBeRepeated })',
      },
    ],
    found: ['foreign error'],
    faults: REFUSING,
  },
  {
    name: 'a lost reply is a refusal',
    patches: [
      {
        file: 'backend/valkey/failures.ts',
        from: `{ reason: 'connection', mayBeApplied: true,`,
        to: `{ reason: 'connection', mayBeApplied: false,`,
      },
      {
        file: 'backend/valkey/failures.ts',
        from: `{ reason: 'timeout', mayBeApplied: true,`,
        to: `{ reason: 'timeout', mayBeApplied: false,`,
      },
    ],
    found: ['refused write applied'],
    faults: LOST_REPLIES,
  },
  {
    name: 'a lost reply is a success',
    patches: [
      {
        file: 'backend/valkey/valkey-backend.ts',
        from: 'await putRecord(this.#link, { ...this.#keysOf(handle), write })',
        to: `await putRecord(this.#link, { ...this.#keysOf(handle), write }).catch(() => {
          return { value: { answer: 'stored', expiresAtMs: Date.now() + 60_000, nowMs: Date.now() }, mayBeRepeated: true }
        })`,
      },
    ],
    found: ['write lost', 'session ended early'],
    faults: LOST_REPLIES,
  },
  {
    name: 'no call has a deadline',
    patches: [
      {
        file: LINK,
        from: 'settle({ failure: timedOut }), timeoutMs)',
        to: 'settle({ failure: timedOut }), 60_000)',
      },
      { file: 'store/deadline.ts', from: 'reject(late()), ms)', to: 'reject(late()), 60_000)' },
      { file: 'backend/valkey/client-settings.ts', from: 'commandTimeout: commandTimeoutMs,', to: '' },
      { file: 'backend/valkey/client-settings.ts', from: 'socketTimeout: 2 * commandTimeoutMs,', to: '' },
    ],
    found: ['call too late', 'call pending'],
    faults: ['freeze'],
    lastingMs: 900,
  },
  {
    name: 'a session that could not be ended is replaced all the same',
    patches: [
      {
        file: 'store/session-store.ts',
        from: '(error: unknown) => this.#condemn(old, error)',
        to: '() => this.#replace(req, old)',
      },
    ],
    found: ['ended session read'],
    faults: REFUSING,
  },
]

/** Sabotages of how concurrent saves come together. */
export const saveSabotages: readonly Sabotage[] = [
  {
    name: 'the last save takes all',
    patches: [
      {
        file: 'store/merge.ts',
        from: `return overlay(theirs, ours, ['cookie', ...changedKeys(base, ours)])`,
        to: 'return ours',
      },
    ],
    found: ['write lost'],
  },
  {
    name: 'a conflict counts as stored',
    patches: [
      {
        file: SAVER,
        from: `if (answer === 'stored') { copy.stored(record)`,
        to: `if (answer === 'stored' || answer === 'conflict') { copy.stored(record)`,
      },
    ],
    found: ['write lost'],
  },
  {
    name: 'what a failed save changed is forgotten',
    patches: [
      {
        file: 'store/session-copy.ts',
        from: 'this.#unsavedSince ??= { base: draft.base } if (this.#view === draft.ours) this.#view = this.#unsavedSince.base',
        to: 'void draft',
      },
    ],
    found: ['write lost'],
    faults: REFUSING,
    lastingMs: 30,
  },
]

/** Sabotages of how sessions come into, stay in and leave their user's registry. */
export const registrySabotages: readonly Sabotage[] = [
  {
    name: 'nobody counts the sessions of a user',
    patches: [{ file: ENROLL, from: '(isNew and count + 1 or count) - cap or 0', to: '0 or 0' }],
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
      { file: ENROLL, from: `redis.call('ZADD', pending, evicted[index + 1], evicted[index])`, to: '' },
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
      { file: ENROLMENT, from: 'const struck = await this.#displace(owner, handle, reply.pending)', to: '' },
      {
        file: ENROLMENT,
        from: 'await ender.withdraw(owner, struck) if (isStored',
        // The wait makes the moment long enough to be met.
        to: `await new Promise((done) => setTimeout(done, 30))
          await ender.withdraw(owner, await this.#displace(owner, handle, reply.pending)); if (isStored`,
      },
    ],
    found: ['more sessions than allowed'],
  },
  {
    name: 'a session is stored before it is registered',
    patches: [
      {
        file: SAVER,
        from: 'return enrolment.admit({ handle, owner, device, ttlMs, meta })',
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
        file: 'store/session-registry.ts',
        from: 'await ender.strikeAll(handles, ending)',
        to: 'await ender.strikeAll([], ending)',
      },
    ],
    found: ['ended session read'],
  },
  {
    name: 'a list needs memory',
    patches: [
      {
        file: 'backend/valkey/scripts/roster.ts',
        from: `defineRegistryScript('allow-oom', returnRoster)`,
        to: `defineRegistryScript('', returnRoster)`,
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

export const sabotages: readonly Sabotage[] = [
  ...recordSabotages,
  ...failureSabotages,
  ...saveSabotages,
  ...registrySabotages,
]
