import type { Random } from '../support/random.ts'
import type { Subject, User } from './subject.ts'

/** The mortal sessions that are believed to live, and those known to have ended. */
export class SessionPool {
  readonly ended: Subject[] = []
  readonly #living = new Set<Subject>()

  get size(): number {
    return this.#living.size
  }

  join(subject: Subject): void {
    this.#living.add(subject)
  }

  leave(subject: Subject): void {
    this.#living.delete(subject)
  }

  markEnded(subject: Subject): void {
    this.leave(subject)
    this.ended.push(subject)
  }

  /** All of a user's sessions that stood before a time, but for one. */
  markAllEnded(user: User, { before, except }: { before: number; except: Subject | undefined }): void {
    for (const subject of user.subjects) {
      if (subject !== except && subject.createdAtMs < before) this.markEnded(subject)
    }
  }

  pick(random: Random, suits: (subject: Subject) => boolean = () => true): Subject | undefined {
    return random.pick([...this.#living].filter(suits))
  }
}
