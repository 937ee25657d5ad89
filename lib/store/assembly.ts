import type { Backend } from '../backend/backend.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { CallsUnderWay } from './calls-under-way.ts'
import { Enrolment } from './enrolment.ts'
import type { ResolvedOptions } from './options.ts'
import type { PrefixSharing } from './prefix-sharing.ts'
import { SessionCodec } from './session-codec.ts'
import { SessionEnder } from './session-ender.ts'
import { SessionLife } from './session-life.ts'
import { SessionRecords } from './session-records.ts'
import { SessionRegistry } from './session-registry.ts'
import { SessionSparer } from './session-sparer.ts'
import type { Announce } from './store-events.ts'

export interface AssemblyParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly options: ResolvedOptions
  readonly calls: CallsUnderWay
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
export function assemble({ backend, sealer, options, calls, announce, sharing }: AssemblyParts): Assembly {
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
  const codec = new SessionCodec(options.serializer, maxBytes, Math.ceil(calls.deadlineMs / SERIALIZER_SHARE))
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
      calls,
    }),
  }
}
