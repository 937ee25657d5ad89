import type { Backend } from '../backend/backend.ts'
import type { Operations } from '../operations.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { Announce } from '../session/events.ts'
import type { SessionRecords } from '../session/records.ts'
import type { EndSessions } from './end-sessions.ts'
import type { Membership } from './membership.ts'

/** What it takes to keep records of another kind in a store's registry, under the same cap and the same endings. */
export interface RegistryAccess {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly prefix: string
  /** Opens token sessions, and nothing else. */
  readonly tokenRecords: SessionRecords
  readonly membership: Membership
  readonly endSessions: EndSessions
  readonly operations: Operations
  readonly announce: Announce
  /** Whether each read checks the registry, too. */
  readonly verifiesAlways: boolean
}

// Of the whole process: an app may load the store as CommonJS and another entry point as a module.
const ACCESS = Symbol.for('express-session-valkey/registry-access')

/** Lets other entry points of this package use the store's registry. */
export function giveAccess(store: object, access: RegistryAccess): void {
  Object.defineProperty(store, ACCESS, { value: access })
}

/** The access to a store's registry; `undefined` if it is no store of this package. */
export function accessTo(store: unknown): RegistryAccess | undefined {
  return (Object(store) as { readonly [ACCESS]?: RegistryAccess })[ACCESS]
}
