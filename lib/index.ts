export type { Condition, LastFailure } from './backend/backend.ts'
export type { Finding, FindingCode } from './backend/finding.ts'
export type { ClientSetting } from './backend/valkey/client-inspection.ts'
export {
  type ClientTiming,
  type SafeClientOptions,
  type SafeClusterOptions,
  type SafeNodeOptions,
  safeClientOptions,
  safeClusterOptions,
} from './backend/valkey/client-settings.ts'
export type { ServerAddress, ValkeyConnection } from './backend/valkey/connection.ts'
export type { ValkeyOptions } from './backend/valkey/valkey-options.ts'
export type { Decision, OperationTrace, TracedOperation } from './diagnostics.ts'
export {
  type FailureCause,
  OutcomeUnknownError,
  SessionConflictError,
  SessionEndedError,
  SessionForeignError,
  SessionIdError,
  SessionInvalidError,
  SessionLimitError,
  SessionNotSerializableError,
  SessionStoreError,
  type SessionStoreErrorCode,
  SessionTooLargeError,
  SessionTtlError,
  SessionUnknownKeyError,
  SessionUserIdError,
  SessionWatchBehindError,
  StoreClosedError,
  StoreOptionError,
  StoreSecretsError,
  StoreSerializerError,
  StoreUnavailableError,
} from './errors.ts'
export {
  type ClosableConnection,
  type CloseOnEndOptions,
  closeOnEnd,
  type WatchedStore,
} from './http/close-on-end.ts'
export {
  type AdminAction,
  type AdministeredStore,
  type AdminRequest,
  type SessionAdminMiddleware,
  type SessionAdminOptions,
  sessionAdmin,
} from './http/session-admin.ts'
export {
  type GuardedStore,
  type SessionGuard,
  type SessionGuardOptions,
  sessionGuard,
} from './http/session-guard.ts'
export type { Taint } from './http/taint.ts'
export { deniesTaint, taints } from './http/taint-gates.ts'
export { type TaintLabelsOptions, taintLabels } from './http/taint-labels.ts'
export {
  createLabelStore,
  type LabelStoreConfig,
  type LabelStoreFactory,
  type ValkeyLabelStoreOptions,
} from './labels/create-label-store.ts'
export type { Declassification, LabelActor, LabelAudit } from './labels/declassification.ts'
export type { LabelAlarm, LabelAlarmCode } from './labels/label-alarm.ts'
export {
  LabelError,
  type LabelErrorCode,
  LabelLimitError,
  LabelsUnreadableError,
  TaintDeniedError,
} from './labels/label-errors.ts'
export type { LabelHolder } from './labels/label-holder.ts'
export type { LabelStore, LoadedLabels } from './labels/label-store.ts'
export type { LabelStoreOptions } from './labels/label-store-options.ts'
export type { Secret, Secrets } from './seal/secret.ts'
export {
  createSessionStore,
  type SessionStoreConfig,
  type SessionStoreFactory,
} from './store/create-session-store.ts'
export type { Durability, ReplicaTerms } from './store/durability.ts'
export { InProcessStore, type InProcessStoreOptions } from './store/in-process-store.ts'
export type { Clock, SessionStoreOptions } from './store/options.ts'
export type { UserId } from './store/owner.ts'
export type { CommitOptions } from './store/session-commit.ts'
export type { SessionDevice } from './store/session-device.ts'
export type { EndingTerms, SessionActor, SessionEnding } from './store/session-ending.ts'
export type { RegisteredSession } from './store/session-list.ts'
export type {
  DurableEnd,
  DurableEndAll,
  EndAllTerms,
  EndOutcome,
  ListOptions,
  SessionRegistry,
} from './store/session-registry.ts'
export type { Concurrency } from './store/session-saver.ts'
export type { ListedSession } from './store/session-scan.ts'
export type { SessionSerializer } from './store/session-serializer.ts'
export { SessionStore } from './store/session-store.ts'
export type { SessionTarget, WatchTarget } from './store/session-target.ts'
export type { SessionWatch, WatchedEnding, WatchOptions } from './store/session-watch.ts'
export type { StoreEvents } from './store/store-events.ts'
export type { StoreHealth } from './store/store-health.ts'
export { ValkeyStore, type ValkeyStoreOptions } from './store/valkey-store.ts'
