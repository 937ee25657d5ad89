import type { Backend } from '../../lib/backend/backend.ts'
import { Sealer } from '../../lib/seal/sealer.ts'
import { resolveOptions, type SessionStoreOptions } from '../../lib/store/options.ts'
import { SealedSessionStore } from '../../lib/store/session-store.ts'
import type { SessionStore } from '../../lib/store/store.ts'

export const SECRET = 'a secret of the tests, never used outside of them'

/** The same store, with the methods that only the middlewares of this package call. */
export const internalsOf = (store: SessionStore): SealedSessionStore => store as SealedSessionStore

export interface PartsStoreOptions extends SessionStoreOptions {
  readonly deadlineMs?: number
}

/** A store on a backend that a test made: a shared one, or one that wraps a real one to inject faults. */
export class PartsStore extends SealedSessionStore {
  constructor(backend: Backend, { deadlineMs = 5000, ...options }: PartsStoreOptions = {}) {
    const resolved = resolveOptions(options)
    const sealer = new Sealer({ secrets: options.secrets ?? [SECRET], encrypt: resolved.encrypt })
    super({ backend, sealer, options: resolved, deadlineMs })
  }
}
