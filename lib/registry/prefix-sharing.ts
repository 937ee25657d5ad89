import type { Backend } from '../backend/backend.ts'
import type { Finding } from '../backend/finding.ts'
import type { Sealer } from '../seal/sealer.ts'

const MARK_EVERY_MS = 60_000
const MAX_KEY_IDS = 16
const ID = /^[0-9a-f]{16}$/

export interface PrefixSharingParts {
  readonly backend: Backend
  readonly sealer: Sealer
  /** Is called once, when others are found. Must not throw. */
  readonly tell: (finding: Finding) => void
}

/**
 * Notices that somebody uses the same prefix with other secrets: neither can read the other's sessions, but a user's
 * registry is one, and so a cap, `endAll` and `clear` of one app end sessions of the other. Everybody who registers leaves
 * the ids of their keys; while secrets rotate, lists overlap, and whoever overlaps is one app.
 */
export class PrefixSharing {
  readonly #parts: PrefixSharingParts
  #markedAtMs = Number.NEGATIVE_INFINITY
  #isTold = false

  constructor(parts: PrefixSharingParts) {
    this.#parts = parts
  }

  /** Leaves the mark and looks at those of others, at most once a minute and beside whatever else is done. */
  note(): void {
    const nowMs = performance.now()
    if (nowMs - this.#markedAtMs < MARK_EVERY_MS) return
    this.#markedAtMs = nowMs
    // What it is beside fails by itself if the backend is away.
    this.#find(true).catch(() => {})
  }

  /** What `check()` should say of it; nothing if all is well or nobody knows. Never rejects. */
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
    if (!this.#isTold) this.#parts.tell(finding)
    this.#isTold = true
    return finding
  }
}

/** Whether one of the lists is linked to ours by no chain of lists that overlap. */
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
