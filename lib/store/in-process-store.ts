import { randomBytes } from 'node:crypto'
import { InProcessBackend } from '../backend/in-process-backend.ts'
import { Sealer } from '../seal/sealer.ts'
import { resolveOptions, type SessionStoreOptions } from './options.ts'
import { SealedSessionStore } from './session-store.ts'
import type { SessionStore } from './store.ts'

// Nothing here waits for a network; only a serializer or a secrets function of the app's own can take time.
const DEADLINE_MS = 5000

/**
 * Keeps sessions in this process, with the semantics of {@link ValkeyStore}: for development, tests, and apps of a
 * single process. They are gone when the process ends. Without `secrets` it makes one for its own lifetime.
 *
 * @throws TypeError that names the option, if one is wrong.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import session from 'express-session'
 * import { InProcessStore } from 'express-session-valkey'
 *
 * const app = express()
 * app.use(session({ store: new InProcessStore(), secret: 'keyboard cat', resave: false, saveUninitialized: false }))
 * ```
 */
export interface InProcessStore extends SessionStore {}

export const InProcessStore: new (options?: SessionStoreOptions) => InProcessStore =
  class InProcessStore extends SealedSessionStore {
    constructor(options: SessionStoreOptions = {}) {
      const resolved = resolveOptions(options)
      const { secrets = [randomBytes(32)] } = options
      super({
        backend: new InProcessBackend({ clock: resolved.clock }),
        sealer: new Sealer({ secrets, encrypt: resolved.encrypt }),
        options: resolved,
        deadlineMs: DEADLINE_MS,
      })
    }
  }
