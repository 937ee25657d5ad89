import type { Session, SessionData } from 'express-session'
import { SessionNotSerializableError } from '../errors.ts'

export interface CommitOptions {
  /** As the option of express-session: whether new sessions that hold nothing are stored. @defaultValue false */
  readonly saveUninitialized?: boolean | undefined
}

/** Whether nobody has put anything into a session yet. */
export function isBlank(session: object): boolean {
  return Object.keys(session).every((key) => key === 'cookie')
}

/** Through the session's own method: express-session then knows that it is saved, and does not save it again. */
export async function saveLive(session: Session & SessionData): Promise<void> {
  session.touch()
  await new Promise<void>((resolve, reject) => {
    try {
      session.save((error: unknown) => (error ? reject(error) : resolve()))
    } catch {
      // It hashes the session's JSON first.
      reject(
        new SessionNotSerializableError(
          'it holds a BigInt, a cycle, or something else that JSON cannot write',
        ),
      )
    }
  })
}
