export type { Finding } from './backend/finding.ts'
export type { ClientSetting } from './backend/valkey/checks/client-inspection.ts'
export type { ValkeyClient } from './backend/valkey/connection/client.ts'
export {
  type ClientTiming,
  type SafeClientOptions,
  type SafeClusterOptions,
  safeClientOptions,
  safeClusterOptions,
} from './backend/valkey/connection/client-settings.ts'
export type { ValkeyConnection } from './backend/valkey/connection/connection.ts'
export type { ValkeyOptions } from './backend/valkey/connection/valkey-options.ts'
export type { Decision, OperationTrace } from './diagnostics.ts'
export {
  type AnySessionStoreError,
  type FailureCause,
  isSessionStoreError,
  LabelLimitError,
  LabelsUnreadableError,
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
  TaintDeniedError,
} from './errors.ts'
export {
  type AdminAction,
  type AdminRequest,
  type SessionAdminOptions,
  sessionAdmin,
} from './http/admin/session-admin.ts'
export {
  type ClosableConnection,
  type CloseOnEndOptions,
  closeOnEnd,
} from './http/close-on-end.ts'
export { type SessionGuardOptions, sessionGuard } from './http/guard/session-guard.ts'
export type { Taint, TaintPolicy } from './http/labels/taint.ts'
export { deniesTaint, taints } from './http/labels/taint-gates.ts'
export { type TaintLabelsOptions, taintLabels, taintOf } from './http/labels/taint-labels.ts'
export { createLabelStore, type LabelStoreConfig } from './labels/create-label-store.ts'
export type { Declassification, LabelAudit } from './labels/declassification.ts'
export type { LabelHolder } from './labels/label.ts'
export type { LabelAlarm } from './labels/label-alarm.ts'
export type { AddTerms, LabelStore, LoadedLabels, LoadTerms } from './labels/label-store.ts'
export type { LabelStoreOptions } from './labels/label-store-options.ts'
export type { Actor } from './option.ts'
export type {
  ActiveSession,
  Durability,
  EndAllOptions,
  EndAllResult,
  EndedSession,
  EndOptions,
  EndResult,
  ListOptions,
  RegisteredSession,
  SessionRegistry,
} from './registry/registry.ts'
export type { SessionTarget, WatchTarget } from './registry/targets.ts'
export type { SessionWatch, WatchedEnding } from './registry/watch.ts'
export type { Secret, Secrets } from './seal/secret.ts'
export type { SessionSerializer } from './session/codec.ts'
export type { SessionDevice } from './session/device.ts'
export type { SessionEnding } from './session/ending.ts'
export type { StoreEvents } from './session/events.ts'
export type { UserId } from './session/names.ts'
export {
  createSessionStore,
  type SessionStoreConfig,
} from './store/create-session-store.ts'
export { InProcessStore } from './store/in-process-store.ts'
export type { SessionStoreOptions } from './store/options.ts'
export type { SessionStore, StoreHealth } from './store/store.ts'
export { type LegacyOptions, ValkeyStore, type ValkeyStoreOptions } from './store/valkey-store.ts'
