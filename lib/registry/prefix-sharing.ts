import type { Backend } from '../backend/backend.ts'
import type { Finding } from '../backend/finding.ts'
import type { Sealer } from '../seal/sealer.ts'

const MARK_EVERY_MS = 60_000
const MAX_KEY_IDS = 16
const ID = /^[0-9a-f]{16}$/

export interface PrefixSharingParts {
  readonly backend: Backend
  readonly sealer: Sealer
  /** Called once, when another app is found. Must not throw. */
  readonly report: (finding: Finding) => void
}

/**
 * Detects that another app uses the same prefix with other secrets. Neither app can read the other's sessions, but they share the
 * registry of each user, so caps, `endAll` and `clear` of one app end sessions of the other. Each store that registers sessions
 * leaves the ids of its keys. While secrets rotate the lists overlap, and stores with overlapping lists count as one app.
 */
export class PrefixSharing {
  readonly #parts: PrefixSharingParts
  #markedAtMs = Number.NEGATIVE_INFINITY
  #isReported = false

  constructor(parts: PrefixSharingParts) {
    this.#parts = parts
  }

  /** Leaves the mark and reads those of others, at most once a minute, without making the caller wait. */
  note(): void {
    const nowMs = performance.now()
    if (nowMs - this.#markedAtMs < MARK_EVERY_MS) return
    this.#markedAtMs = nowMs
    // If the backend is unavailable, the caller's own call fails, too.
    this.#find(true).catch(() => {})
  }

  /** Returns the finding for `check()`; none if all is well or the backend is unavailable. Never rejects. */
  async findings(): Promise<readonly Finding[]> {
    const finding = await this.#find(false).catch(() => undefined)
    return finding ? [finding] : []
  }

  async #find(leavesMark: boolean): Promise<Finding | undefined> {
    const ours = (await this.#parts.sealer.keyIds()).slice(0, MAX_KEY_IDS)
    const marks = await this.#parts.backend.mark(leavesMark ? ours.join('.') : '')
    const lists = marks.map((mark) => mark.split('.')).filter((ids) => ids.every((id) => ID.test(id)))
    if (!hasStranger(ours, lists)) return undefined
    const finding: Finding = {
      code: 'shared-prefix',
      severity: 'error',
      message:
        'Another app registered sessions under the same prefix with other secrets within a day: caps, endAll and clear of one end sessions of the other',
      action: 'Give each app a prefix of its own; apps that share their users share all secrets',
    }
    if (!this.#isReported) this.#parts.report(finding)
    this.#isReported = true
    return finding
  }
}

/** Returns whether a list is not connected to ours by a chain of overlapping lists. */
function hasStranger(ours: readonly string[], lists: readonly (readonly string[])[]): boolean {
  const known = new Set(ours)
  let strangers = lists
  for (let before = -1; before !== strangers.length; ) {
    before = strangers.length
    const friends = strangers.filter((ids) => ids.some((id) => known.has(id)))
    for (const id of friends.flat()) known.add(id)
    strangers = strangers.filter((ids) => !friends.includes(ids))
  }
  return strangers.length > 0
}
