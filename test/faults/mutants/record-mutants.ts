import type { WorkloadMutant } from './mutant.ts'

const LOST_REPLIES = ['drop reply', 'cut inside a reply', 'reset']
const PUT = 'backend/valkey/scripts/put-record.ts'
const END = 'backend/valkey/scripts/end-record.ts'

/** Mutants of what keeps a record. */
export const recordMutants: readonly WorkloadMutant[] = [
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
        file: 'store/sessions.ts',
        from: 'const touched = this.#backend.touch(tracked.handle, ttlMs, isExtension)',
        to: `const touched = Promise.resolve(this.#records.seal('session', tracked.handle, record))
          .then((sealed) => this.#records.put(sealed, { expect: { kind: 'any' }, ttlMs })).then(() => undefined)`,
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
        file: PUT,
        from: `answer === 'conflict' && attempt.wasRetried ? 'unsure' : answer`,
        to: 'answer',
      },
      {
        file: 'store/tracked-session.ts',
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
        file: 'session/names.ts',
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
