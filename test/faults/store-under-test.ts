import type { Request } from 'express'
import type { Session, SessionData, Store } from 'express-session'
import type { SessionTarget } from '../../lib/registry/targets.ts'

/** What a run asks of a store: the real one, or one of a mutated build. */
export interface StoreUnderTest extends Store {
  get(sid: string): Promise<SessionData | null>
  get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): void
  set(sid: string, session: SessionData): Promise<void>
  set(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void
  touch(sid: string, session: SessionData): Promise<void>
  touch(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void
  destroy(sid: string): Promise<void>
  destroy(sid: string, callback: ((error?: unknown) => void) | undefined): void
  handle(sid: string): string
  close(): Promise<void>
  createSession(req: Request, data: SessionData): Session & SessionData
  /** How new sessions are made; express-session sets it. */
  generate: (req: Request) => void
  readonly registry: {
    list(userId: string): Promise<readonly { readonly handle: string }[]>
    end(target: SessionTarget, terms?: { readonly reason?: string }): Promise<unknown>
    endAll(
      userId: string,
      terms?: { readonly except?: SessionTarget; readonly reason?: string },
    ): Promise<unknown>
  }
}

/** A store of a run, and its name in reports. */
export interface NamedStore {
  readonly name: string
  readonly store: StoreUnderTest
  /** Whether it rejects conflicts instead of merging. */
  readonly rejects: boolean
}
