export {
  OutcomeUnknownError,
  SessionConflictError,
  SessionEndedError,
  SessionIdError,
  SessionInvalidError,
  SessionNotSerializableError,
  SessionStoreError,
  type SessionStoreErrorCode,
  SessionTooLargeError,
  SessionTtlError,
  SessionUnknownKeyError,
  StoreClosedError,
  StoreSecretsError,
  StoreUnavailableError,
} from './errors.ts'
export type { Secret, Secrets } from './seal/secret.ts'
export { createSessionStore, type SessionStoreConfig, type SessionStoreFactory } from './store/create-session-store.ts'
export { InProcessStore, type InProcessStoreOptions } from './store/in-process-store.ts'
export type { Clock, SessionStoreOptions } from './store/options.ts'
export type { Concurrency } from './store/session-saver.ts'
export type { SessionSerializer } from './store/session-serializer.ts'
export { type ListedSession, SessionStore, type StoreHealth } from './store/session-store.ts'
export type { StoreEvents } from './store/store-events.ts'
export { ValkeyStore, type ValkeyStoreOptions } from './store/valkey-store.ts'
