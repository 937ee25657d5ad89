import { type Backend, etagOf } from '../../lib/backend/backend.ts'
import { Sealer } from '../../lib/seal/sealer.ts'
import { decodePlaintext } from '../../lib/session/metadata.ts'
import { SECRET } from '../store/parts-store.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import type { BackendMutant } from './interleavings.ts'
import { wrapRegistry } from './wrap-registry.ts'

// Each drops one step of a protocol, or does it at the wrong time. Fakes, as the code has no switch to do wrong.

/** A place in the registry is granted, and not taken. */
export const skipEnroll: BackendMutant = (backend) =>
  wrapRegistry(backend, { enroll: (owner) => pretendToEnroll(backend, owner) })

/** The place is taken only after the session can be read. */
export const enrollAfterPut: BackendMutant = (backend) => {
  let late = async () => {}
  const takeLate = async () => {
    const take = late
    late = async () => {}
    await take()
  }
  const registry = wrapRegistry(backend, {
    enroll: async (owner, enrolment) => {
      late = async () => void (await backend.registry.enroll(owner, enrolment))
      return pretendToEnroll(backend, owner)
    },
  })
  return wrapBackend(registry, {
    get: (handle, maxBytes) => takeLate().then(() => backend.get(handle, maxBytes)),
  })
}

/** Whom the cap displaces is not ended. */
export const skipEndOfDisplaced: BackendMutant = (backend) => {
  const displaced = new Set<string>()
  return wrapBackend(notingDisplaced(backend, displaced), {
    end: (handle, ending) => (displaced.has(handle) ? pretendToEnd() : backend.end(handle, ending)),
  })
}

/** Whom the cap displaces is ended only after the sign-in was granted. */
export const endDisplacedAfterPut: BackendMutant = (backend) => {
  const displaced = new Set<string>()
  const late: (() => Promise<unknown>)[] = []
  const endLate = () => Promise.all(late.splice(0).map((end) => end()))
  const registry = wrapRegistry(notingDisplaced(backend, displaced), {
    withdraw: async (owner, withdrawal) => {
      await endLate()
      await backend.registry.withdraw(owner, withdrawal)
    },
  })
  return wrapBackend(registry, {
    end: async (handle, ending) => {
      if (!displaced.has(handle)) return backend.end(handle, ending)
      late.push(() => backend.end(handle, ending))
      return pretendToEnd()
    },
  })
}

/** What was ended stays registered. */
export const skipWithdraw: BackendMutant = (backend) => wrapRegistry(backend, { withdraw: async () => {} })

/** Ending all takes the sessions out of the registry before they are ended. */
export const withdrawBeforeEnd: BackendMutant = (backend) =>
  wrapRegistry(backend, {
    raise: async (owner, raising) => {
      const roster = await backend.registry.raise(owner, raising)
      const handles = roster.members.map(({ handle }) => handle)
      await backend.registry.withdraw(owner, { handles, departedTtlMs: 1 })
      return roster
    },
  })

/** A sign-in that is not stored yet is ended without leaving anything that its store could meet. */
export const skipFence: BackendMutant = (backend) =>
  wrapBackend(backend, {
    end: async (handle, ending) =>
      (await backend.get(handle, 1e6)) ? backend.end(handle, ending) : { answer: 'missing' },
  })

/** The epoch is not raised. */
export const skipRaise: BackendMutant = (backend) =>
  wrapRegistry(backend, { raise: (owner) => backend.registry.roster(owner) })

/** No session is of an epoch that has passed. */
export const skipEpochComparison: BackendMutant = (backend) =>
  wrapRegistry(backend, {
    standing: async (owner, handle) => ({ ...(await backend.registry.standing(owner, handle)), epoch: 0 }),
    extend: async (owner, extension) => ({ ...(await backend.registry.extend(owner, extension)), epoch: 0 }),
  })

/** Every session is a member. */
export const skipMembershipCheck: BackendMutant = (backend) =>
  wrapRegistry(backend, {
    standing: async (owner, handle) => ({
      ...(await backend.registry.standing(owner, handle)),
      isMember: true,
    }),
    extend: async (owner, extension) => ({
      ...(await backend.registry.extend(owner, extension)),
      isMember: true,
    }),
  })

/** The spared session keeps the epoch that it has. */
export const skipReseal: BackendMutant = (backend) =>
  wrapBackend(backend, {
    put: async (handle, write) => {
      const found = await backend.get(handle, 1e6)
      const stands = typeof found === 'object' ? await opened(handle, found.blob) : undefined
      const next = await opened(handle, write.blob)
      const isOfNewEpoch = stands?.meta.epoch !== next?.meta.epoch && stands?.meta.owner === next?.meta.owner
      if (stands === undefined || !isOfNewEpoch || write.expect.kind !== 'version')
        return backend.put(handle, write)
      if (typeof found !== 'object' || !etagOf(found.blob).equals(write.expect.etag))
        return { answer: 'conflict' }
      return { answer: 'stored', expiresAtMs: found.expiresAtMs }
    },
  })

const sealer = new Sealer({ secrets: [SECRET], encrypt: false })

async function opened(handle: string, blob: Buffer) {
  const found = await sealer.open(blob, { purpose: 'session', prefix: 'sess', name: handle })
  return found.state === 'open' ? decodePlaintext(found.plaintext) : undefined
}

async function pretendToEnroll(backend: Backend, owner: string) {
  const { epoch } = await backend.registry.roster(owner)
  return { answer: 'enrolled', epoch: epoch === 0 ? 1 : epoch, order: 1, seenAtMs: 0, pending: [] } as const
}

async function pretendToEnd() {
  return { answer: 'ended' } as const
}

function notingDisplaced(backend: Backend, displaced: Set<string>): Backend {
  return wrapRegistry(backend, {
    enroll: async (owner, enrolment) => {
      const reply = await backend.registry.enroll(owner, enrolment)
      if (reply.answer === 'enrolled' || reply.answer === 'crowded')
        for (const handle of reply.pending) displaced.add(handle)
      return reply
    },
  })
}
