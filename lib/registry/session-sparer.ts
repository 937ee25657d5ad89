import { SessionConflictError, SessionEndedError } from '../errors.ts'
import { optionError } from '../option.ts'
import type { SessionRecord, SessionRecords } from '../session/records.ts'

// Saves of the spared session may come in between, seldom more than one or two.
const MAX_TRIES = 8

/** Seals a session under a coming epoch, so that raising it ends all of a user's sessions but this one. */
export class SessionSparer {
  readonly #records: SessionRecords
  readonly #now: () => Promise<number>

  constructor(records: SessionRecords, now: () => Promise<number>) {
    this.#records = records
    this.#now = now
  }

  /** Throws `SessionEndedError` if the session does not live, a `TypeError` if it is another user's. */
  async spare(handle: string, owner: string, epoch: number): Promise<void> {
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const record = await this.#records.read(handle)
      if (record === undefined) throw new SessionEndedError('gone')
      if (record.meta.owner !== owner) throw optionError('except', 'a session of the same user')
      if ((record.meta.epoch ?? 0) >= epoch) return
      const answer = await this.#seal(record, epoch)
      if (answer === 'stored') return
      if (answer === 'ended' || answer === 'gone') throw new SessionEndedError(answer)
    }
    throw new SessionConflictError()
  }

  async #seal(record: SessionRecord, epoch: number) {
    const { handle, body, meta, etag, expiresAtMs } = record
    const sealed = await this.#records.seal(handle, { body, meta: { ...meta, epoch } })
    const ttlMs = Math.max(1, expiresAtMs - (await this.#now()))
    const { answer } = await this.#records.store(sealed, { expect: { kind: 'version', etag }, ttlMs })
    return answer
  }
}
