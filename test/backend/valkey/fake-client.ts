import { EventEmitter } from 'node:events'
import {
  type Command,
  CommandRunner,
  type CommandRunnerOptions,
} from '../../../lib/backend/valkey/commands/command-runner.ts'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'

/*
 * A client that fails in ways that real ones do for some milliseconds only, or once in a while
 * (iovalkey 0.4 leaves calls pending for ever in three situations). What a real server does is in outage.test.ts.
 */
export class FakeClient extends EventEmitter implements ValkeyClient {
  status = 'ready'
  calls = 0
  connects = 0
  refreshes = 0
  readonly #answers: readonly (() => unknown)[]

  constructor(...answers: (() => unknown)[]) {
    super()
    this.#answers = answers
  }

  callBuffer(): Promise<unknown> {
    const answer = this.#answers[Math.min(this.calls, this.#answers.length - 1)]
    this.calls += 1
    return Promise.resolve(answer?.())
  }

  async connect(): Promise<void> {
    this.connects += 1
  }

  disconnect(): void {
    this.become('end')
  }

  refreshSlotsCache(): void {
    this.refreshes += 1
  }

  become(status: string): void {
    this.status = status
    this.emit(status)
  }
}

export const limits = { commandTimeoutMs: 60, connectTimeoutMs: 40, retries: 1, breaker: false } as const

export function runnerOn(client: ValkeyClient, more: Partial<CommandRunnerOptions> = {}): CommandRunner {
  return new CommandRunner({ client, ...limits, ...more })
}

export const echo: Command<string> = {
  to: undefined,
  send: (client) => client.callBuffer('echo', 'secret-canary'),
  decode: (reply) => (typeof reply === 'string' ? reply : undefined),
}

export const fail = (message: string) => () => {
  throw Object.assign(new Error(message), { command: { name: 'echo', args: ['secret-canary'] } })
}
export const never = () => new Promise(() => {})
export const unavailable = (reason: string) => ({ code: 'ERR_STORE_UNAVAILABLE', reason, status: 503 })
export const unknown = (reason: string) => ({ code: 'ERR_STORE_OUTCOME_UNKNOWN', reason, status: 503 })

export async function timed(call: Promise<unknown>): Promise<number> {
  const start = performance.now()
  await call.catch(() => {})
  return performance.now() - start
}

/** What a busy machine may add to a deadline. */
export const SLACK_MS = 2000
