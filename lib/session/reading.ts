import type { Session, SessionData } from 'express-session'
import { SessionUserIdError } from '../errors.ts'
import { askOption } from '../option.ts'
import type { Reading, SessionBody, SessionCodec } from './codec.ts'
import { type StoredCookie, storedAgain } from './cookie.ts'
import type { Content } from './merge.ts'
import { ownerName, type UserId, userIdFrom } from './names.ts'

/** The `userId` option, or its default. May return anything. */
export type UserIdOption = (session: Session & Partial<SessionData>) => unknown

/** Returns the user of a session, by the `userId` option. Throws `SessionUserIdError` for what is neither a user id nor nobody. */
export function userIdBy(option: UserIdOption, session: object): UserId | undefined {
  const value = askOption('userId', () => option(session as Session & Partial<SessionData>))
  if (value === undefined || value === null) return undefined
  const userId = userIdFrom(value)
  if (userId === undefined) throw new SessionUserIdError(value)
  return userId
}

/** Reads bodies as a later request will, so that a save registers the owner that the next request finds. */
export class SessionReader {
  readonly #codec: SessionCodec
  readonly #userId: UserIdOption

  constructor(codec: SessionCodec, userId: UserIdOption) {
    this.#codec = codec
    this.#userId = userId
  }

  /**
   * Returns the reading of a body, or a promise of it with an async serializer.
   *
   * @throws SessionNotSerializableError if the body could not be loaded.
   * @throws SessionUserIdError if it names no user.
   */
  read(body: SessionBody): Reading | Promise<Reading> {
    if (body.reading !== undefined) return body.reading
    const content = this.#codec.reread(body)
    return content instanceof Promise
      ? content.then((reread) => this.#keep(body, reread))
      : this.#keep(body, content)
  }

  /**
   * Throws `SessionUserIdError` if a live session has a wrong user id and yet is stored as nobody's: JSON turns NaN into
   * `null`, and drops a function.
   */
  checkNobody(live: object): void {
    userIdBy(this.#userId, live)
  }

  /** Notes the reading of a loaded body. Its next save reports what is wrong with it. */
  note(body: SessionBody, content: Content): void {
    try {
      this.#keep(body, content)
    } catch {
      // `read` tries again.
    }
  }

  #keep(body: SessionBody, content: Content): Reading {
    const userId = userIdBy(this.#userId, content)
    const owner = userId === undefined ? undefined : ownerName(userId)
    const reading = new ContentReading(owner, content['cookie'])
    body.reading = reading
    return reading
  }
}

class ContentReading implements Reading {
  readonly owner: string | undefined
  readonly #stored: unknown
  #cookie: StoredCookie | undefined

  constructor(owner: string | undefined, stored: unknown) {
    this.owner = owner
    this.#stored = stored
  }

  // Most sessions are never asked for it.
  get cookie(): StoredCookie {
    this.#cookie ??= storedAgain(this.#stored)
    return this.#cookie
  }
}
