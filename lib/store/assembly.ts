import type { Backend } from '../backend/backend.ts'
import type { Operations } from '../operations.ts'
import { SessionEnder } from '../registry/end-sessions.ts'
import { Enrolment } from '../registry/membership.ts'
import type { PrefixSharing } from '../registry/prefix-sharing.ts'
import { SessionRegistry } from '../registry/session-registry.ts'
import { SessionSparer } from '../registry/session-sparer.ts'
import type { Sealer } from '../seal/sealer.ts'
import { SessionCodec } from '../session/codec.ts'
import type { Announce } from '../session/events.ts'
import { SessionRecords } from '../session/records.ts'
import type { ResolvedOptions } from './options.ts'
import { SessionLife } from './session-life.ts'

export interface AssemblyParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly options: ResolvedOptions
  readonly operations: Operations
  readonly announce: Announce
  readonly sharing: PrefixSharing
}

export interface Assembly {
  readonly life: SessionLife
  readonly ender: SessionEnder
  readonly registry: SessionRegistry
}

// Less than a call may take in all, so that its caller learns what it waited for.
const SERIALIZER_SHARE = 3

/** Puts the parts of a store together, each with what it needs of the others. */
export function assemble({
  backend,
  sealer,
  options,
  operations,
  announce,
  sharing,
}: AssemblyParts): Assembly {
  const {
    prefix,
    maxBytes,
    endedTtlMs,
    watchIntervalMs,
    onInvalid,
    onUnknownKey,
    maxSessionsPerUser,
    onMaxSessions,
  } = options
  const now = () => backend.now()
  const codec = new SessionCodec(
    options.serializer,
    maxBytes,
    Math.ceil(operations.deadlineMs / SERIALIZER_SHARE),
  )
  const records = new SessionRecords({ backend, sealer, prefix, maxBytes, onInvalid, onUnknownKey, announce })
  const ender = new SessionEnder({ backend, sealer, records, prefix, endedTtlMs, announce })
  const enrolment = new Enrolment({
    registry: backend.registry,
    records,
    ender,
    maxSessionsPerUser,
    onMaxSessions,
    now,
    sharing,
  })
  const sparer = new SessionSparer(records, now)
  return {
    ender,
    life: new SessionLife({ backend, options, announce, records, codec, enrolment, ender }),
    registry: new SessionRegistry({
      backend,
      sealer,
      records,
      ender,
      sparer,
      prefix,
      endedTtlMs,
      watchIntervalMs,
      operations,
    }),
  }
}
