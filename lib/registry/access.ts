import type { Backend } from '../backend/backend.ts'
import type { Operations } from '../operations.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { Announce } from '../session/events.ts'
import type { SessionRecords } from '../session/records.ts'
import type { EndSessions } from './end-sessions.ts'
import type { Membership } from './membership.ts'

/** Access to a store's registry for records of another kind, under the same cap and with the same endings. */
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

// Shared by the process: an app may load the store as CommonJS and another entry point as a module.
const ACCESS = Symbol.for('express-session-valkey/registry-access')

/** Gives other entry points of this package access to the store's registry. */
export function giveAccess(store: object, access: RegistryAccess): void {
  Object.defineProperty(store, ACCESS, { value: access })
}

/** Returns the access to a store's registry; `undefined` if it is no store of this package. */
export function accessTo(store: unknown): RegistryAccess | undefined {
  return (Object(store) as { readonly [ACCESS]?: RegistryAccess })[ACCESS]
}
