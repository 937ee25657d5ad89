import type { WorkloadMutant } from './mutant.ts'

const LOST_REPLIES = ['drop reply', 'cut inside a reply', 'reset']
const REFUSING = ['no replica', 'failed snapshot', 'demotion to replica']
const RUNNER = 'backend/valkey/commands/command-runner.ts'

/** Mutants of what makes failures quick and honest. */
export const failureMutants: readonly WorkloadMutant[] = [
  {
    name: 'an outage is no session',
    patches: [
      {
        file: 'session/records.ts',
        from: 'this.#parts.backend.get(handle, this.#maxBlobBytes)',
        to: 'this.#parts.backend.get(handle, this.#maxBlobBytes).catch(() => undefined)',
      },
    ],
    found: ['session missing'],
    faults: LOST_REPLIES,
  },
  {
    name: 'an open breaker is no session',
    patches: [
      {
        file: 'session/records.ts',
        from: 'this.#parts.backend.get(handle, this.#maxBlobBytes)',
        to: `this.#parts.backend.get(handle, this.#maxBlobBytes)
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
        from: 'return this.#sessions.load(handle).then((found) => {',
        to: `return this.#sessions.load(handle)
          .catch((error) => { this.emit('disconnect'); throw error })
          .then((found) => {`,
      },
    ],
    found: ['forbidden event'],
    faults: LOST_REPLIES,
  },
  {
    name: 'a failure keeps the client’s command',
    patches: [
      {
        file: RUNNER,
        from: 'const failure = { ...classifyFailure(error), cause',
        to: 'const failure = { error, ...classifyFailure(error), cause',
      },
      {
        file: RUNNER,
        from: 'throw toError({ ...failure, mayBeApplied: call.wasRetried })',
        to: 'throw Object.assign(toError({ ...failure, mayBeApplied: call.wasRetried }), { command: failure.error?.command })',
      },
    ],
    found: ['secret leaked'],
    faults: REFUSING,
  },
  {
    name: 'a client’s own error gets out',
    patches: [
      {
        file: RUNNER,
        from: 'const failure = { ...classifyFailure(error), cause',
        to: 'const failure = { error, ...classifyFailure(error), cause',
      },
      {
        file: RUNNER,
        from: 'throw toError({ ...failure, mayBeApplied: call.wasRetried })',
        to: 'throw failure.error ?? toError({ ...failure, mayBeApplied: call.wasRetried })',
      },
    ],
    found: ['foreign error'],
    faults: REFUSING,
  },
  {
    name: 'a lost reply is a refusal',
    patches: [
      {
        file: 'backend/valkey/commands/failures.ts',
        from: `{ reason: 'connection', mayBeApplied: true,`,
        to: `{ reason: 'connection', mayBeApplied: false,`,
      },
      {
        file: 'backend/valkey/commands/failures.ts',
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
        from: 'putRecord(this.#commands, { recordKey, tombstoneKey, write })',
        to: `putRecord(this.#commands, { recordKey, tombstoneKey, write }).catch(() => {
          return { answer: 'stored', expiresAtMs: Date.now() + 60_000 }
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
        file: 'patience.ts',
        from: 'this.#leftMs = Math.max(ms, 0)',
        to: 'this.#leftMs = 60_000',
      },
      {
        file: 'backend/valkey/connection/client-settings.ts',
        from: 'socketTimeout: 2 * commandTimeoutMs,',
        to: '',
      },
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
        from: '(error: unknown) => this.#requests.condemn(req, old, error)',
        to: '() => this.#replace(req, old)',
      },
    ],
    found: ['ended session read'],
    faults: REFUSING,
  },
]
