import { randomBytes } from 'node:crypto'
import { OutcomeUnknownError, StoreUnavailableError } from '../../errors.ts'
import type { Backend } from '../backend.ts'
import { ETAG_BYTES } from '../backend.ts'
import type { Finding } from '../finding.ts'

const BRIEF_MS = 1000
const newDigest = () => randomBytes(32).toString('base64url')

/** Runs every verb once, on a handle and an owner of its own that are gone a second later, and tells which are denied. */
export async function probeRights(backend: Backend): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const [verb, run] of stepsOn(backend)) {
    try {
      await run()
    } catch (error) {
      const reason = reasonOf(error)
      if (reason !== 'no-permission') return [...findings, untried(reason)]
      findings.push(missing(verb))
    }
  }
  return findings
}

function stepsOn(backend: Backend): readonly (readonly [verb: string, run: () => Promise<unknown>])[] {
  const { registry } = backend
  const [handle, owner] = [newDigest(), newDigest()]
  const empty = Buffer.alloc(0)
  const blob = randomBytes(2 * ETAG_BYTES)
  return [
    [
      'enroll',
      () => registry.enroll(owner, { handle, ttlMs: BRIEF_MS, beyondCap: 'refuse', takenWithinMs: BRIEF_MS }),
    ],
    ['put', () => backend.put(handle, { expect: { kind: 'absent' }, blob, ttlMs: BRIEF_MS })],
    ['get', () => backend.get(handle, blob.length)],
    ['touch', () => backend.touch(handle, BRIEF_MS)],
    ['extend', () => registry.extend(owner, { handle, ttlMs: BRIEF_MS })],
    ['standing', () => registry.standing(owner, handle)],
    ['count', () => registry.count(owner)],
    ['roster', () => registry.roster(owner)],
    ['mark', () => backend.mark('')],
    ['raise', () => registry.raise(owner, { keepMs: BRIEF_MS })],
    ['end', () => backend.end(handle, { blob: empty, ownedTtlMs: BRIEF_MS, fenceTtlMs: BRIEF_MS })],
    ['ending', () => backend.ending(handle)],
    ['handles', () => firstOf(backend.handles())],
    ['withdraw', () => registry.withdraw(owner, { handles: [handle], departedTtlMs: BRIEF_MS })],
  ]
}

// All of them would take long on a server with many keys.
async function firstOf(pages: AsyncIterable<unknown>): Promise<void> {
  for await (const _page of pages) return
}

function reasonOf(error: unknown): string {
  const isFailure = error instanceof StoreUnavailableError || error instanceof OutcomeUnknownError
  return isFailure ? error.reason : 'unknown'
}

function untried(reason: string): Finding {
  return {
    code: 'rights-unknown',
    severity: 'unknown',
    message: `The rights of the user could not be tried (${reason})`,
    action: 'Look the reason up in docs/ERRORS.md, and check again',
  }
}

function missing(verb: string): Finding {
  return {
    code: 'missing-right',
    severity: 'error',
    message: `The server denies the user a right that "${verb}" needs`,
    action: 'Compare the user with the ACL in docs/VALKEY.md',
  }
}
