import type { SessionData } from 'express-session'
import type { Backend } from '../backend/backend.ts'
import { SessionInvalidError, SessionUnknownKeyError } from '../errors.ts'
import type { SessionRecords } from '../session/records.ts'
import type { SessionLife } from './session-life.ts'

/** A session as `all()` lists it: its data, and its handle as `id`. */
export type ListedSession = SessionData & { readonly id: string }

export interface SessionScanParts {
  readonly backend: Backend
  readonly life: SessionLife
  /** Opens records of every kind: those of another kind are passed over. */
  readonly records: SessionRecords
}

// However many a batch of the backend has: others are served between them.
const SIDE_BY_SIDE = 100

/** Walks through all sessions of a store. */
export class SessionScan {
  readonly #parts: SessionScanParts

  constructor(parts: SessionScanParts) {
    this.#parts = parts
  }

  async ids(): Promise<string[]> {
    const found = new Set<string>()
    await this.each(async (handle) => found.add(handle))
    return [...found]
  }

  async all(): Promise<ListedSession[]> {
    const found = new Map<string, ListedSession>()
    await this.each(async (handle) => {
      const session = await this.#listed(handle)
      if (session) found.set(handle, session)
    })
    return [...found.values()]
  }

  /** Visits every handle, a few side by side. */
  async each(visit: (handle: string) => Promise<unknown>): Promise<void> {
    for await (const handles of this.#parts.backend.handles())
      for (let start = 0; start < handles.length; start += SIDE_BY_SIDE)
        await Promise.all(handles.slice(start, start + SIDE_BY_SIDE).map(visit))
  }

  async #listed(handle: string): Promise<ListedSession | undefined> {
    try {
      const { records, life } = this.#parts
      const record = await records.read(handle)
      const loaded = record?.kind === 'session' ? await life.loaded(record) : undefined
      return loaded && { ...loaded.data, id: handle }
    } catch (error) {
      // With `onInvalid: 'error'` one bad record must not hide the good ones; its event has been emitted.
      if (error instanceof SessionInvalidError || error instanceof SessionUnknownKeyError) return undefined
      throw error
    }
  }
}
