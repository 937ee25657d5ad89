import { randomBytes } from 'node:crypto'
import { describeFailure, type FailureCause, failureOf } from '../../../errors.ts'
import { Patience } from '../../../patience.ts'
import type { Backend } from '../../backend.ts'
import { ETAG_BYTES } from '../../backend.ts'
import type { Finding } from '../../finding.ts'
import { classifyFailure } from '../commands/failures.ts'
import { type CommandSender, duplicateOnce, isDuplicable } from '../connection/client.ts'
import type { ConfirmationOptions } from '../replica-confirmation.ts'

const BRIEF_MS = 1000
const newDigest = () => randomBytes(32).toString('base64url')

/** Runs every verb once, on a handle and an owner of its own that are gone a second later, and returns which are denied. */
export async function probeRights(backend: Backend): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const [verb, run] of stepsOn(backend)) {
    try {
      await run()
    } catch (error) {
      const failure = failureOf(error)
      if (failure.reason !== 'no-permission') return [...findings, untried(failure)]
      findings.push(missing(verb, failure))
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

function untried(failure: FailureCause): Finding {
  return {
    code: 'rights-unknown',
    severity: 'unknown',
    message: `The rights of the user could not be tried (${describeFailure(failure)})`,
    action: 'Look the reason up in docs/ERRORS.md, and check again',
    failure,
  }
}

function missing(verb: string, failure: FailureCause): Finding {
  const { right } = failure
  return {
    code: 'missing-right',
    severity: 'error',
    message: `The server denies the user a right that "${verb}" needs${right ? `: ${right}` : ''}`,
    action: right
      ? `Grant ${right}; the whole ACL is in docs/VALKEY.md`
      : 'Compare the user with the ACL in docs/VALKEY.md',
    failure,
  }
}

interface Hearing extends ConfirmationOptions {
  readonly channel: string
}

/** Tries what only some calls need: to subscribe, on a connection of its own, and to wait, for no replica. */
export async function probeHearing(hearing: Hearing): Promise<readonly Finding[]> {
  const runner = hearing.client.nodes?.('master')[0] ?? hearing.client
  const findings = [
    (await isDenied(() => subscribeOnce(runner, hearing))) && unheard(hearing.channel),
    (await isDenied(() => runner.callBuffer('wait', 0, 1))) && unasked,
  ]
  return findings.filter((finding) => finding !== false)
}

async function subscribeOnce(
  runner: CommandSender,
  { channel, connectTimeoutMs, commandTimeoutMs }: Hearing,
) {
  if (!isDuplicable(runner)) return
  const connection = duplicateOnce(runner, connectTimeoutMs)
  const patience = new Patience(connectTimeoutMs + commandTimeoutMs, () => connection.disconnect())
  try {
    await connection.connect()
    await connection.subscribe(channel)
  } finally {
    patience.end()
    connection.disconnect()
  }
}

async function isDenied(attempt: () => Promise<unknown>): Promise<boolean> {
  try {
    await attempt()
    return false
  } catch (error) {
    return classifyFailure(error).reason === 'no-permission'
  }
}

const unheard = (channel: string): Finding => ({
  code: 'endings-unheard',
  severity: 'warning',
  message: `The server denies the user +subscribe or &${channel}: a watch learns of an ending only when it looks for itself`,
  action: `Grant +subscribe &${channel}`,
})

const unasked: Finding = {
  code: 'replicas-unasked',
  severity: 'info',
  message: 'The server denies the user +wait: endings with "replicas" report that none has them',
  action: 'Grant +wait where "replicas" is used',
}
