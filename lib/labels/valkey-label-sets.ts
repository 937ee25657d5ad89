import { CommandRunner, type CommandRunnerOptions } from '../backend/valkey/commands/command-runner.ts'
import { type Primary, primariesOf } from '../backend/valkey/commands/primaries.ts'
import type { ValkeyClient } from '../backend/valkey/connection/client.ts'
import { connectionStateOf } from '../backend/valkey/connection/connection-state.ts'
import { addLabels } from '../backend/valkey/scripts/add-labels.ts'
import { loadLabels } from '../backend/valkey/scripts/load-labels.ts'
import { releaseLabels } from '../backend/valkey/scripts/release-labels.ts'
import { LabelsUnreadableError, SessionInvalidError } from '../errors.ts'
import { MAX_LABELS } from './label.ts'
import type { Keeping, LabelSets, SetReading, SetRelease, SetUnion } from './label-sets.ts'

export interface ValkeyLabelSetsOptions extends CommandRunnerOptions {
  /** Whether `close` disconnects the client. */
  readonly ownsClient: boolean
}

/** Label sets in Valkey; docs/VALKEY.md has the keys and scripts. */
export class ValkeyLabelSets implements LabelSets {
  readonly #client: ValkeyClient
  readonly #ownsClient: boolean
  readonly #commands: CommandRunner
  // For commands that must not be sent twice.
  readonly #once: CommandRunner
  readonly #stops: (() => void)[] = []
  #closing: Promise<void> | undefined

  constructor(options: ValkeyLabelSetsOptions) {
    this.#client = options.client
    this.#ownsClient = options.ownsClient
    this.#commands = new CommandRunner(options)
    this.#once = new CommandRunner({ ...options, retries: 0, breaker: false })
  }

  read(key: string, keep: Keeping): Promise<SetReading> {
    return readable(loadLabels(this.#commands, { key, ...keep, maxMembers: MAX_LABELS }))
  }

  async unite(key: string, union: SetUnion): Promise<readonly string[] | 'full'> {
    const { keep, ...members } = union
    return readable(addLabels(this.#commands, { key, ...members, ...keep, maxLabels: MAX_LABELS }))
  }

  async release(
    key: string,
    { marks, keep, deadlineMs }: SetRelease,
  ): Promise<readonly string[] | 'full' | 'late'> {
    return readable(releaseLabels(this.#once, { key, marks, ...keep, deadlineMs, maxLabels: MAX_LABELS }))
  }

  async evictionPolicies(): Promise<readonly string[]> {
    const primaries = await primariesOf(this.#commands)
    return Promise.all(primaries.map((primary) => this.#policyOf(primary)))
  }

  onConnection(listener: () => void): void {
    this.#stops.push(connectionStateOf(this.#client).onConnection(listener))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const stop of this.#stops) stop()
    await Promise.all([this.#commands.close(), this.#once.close()])
    if (this.#ownsClient) this.#client.disconnect()
  }

  #policyOf(primary: Primary): Promise<string> {
    return this.#commands.read({
      to: primary,
      send: async (client) => (await primary.connection(client)).callBuffer('info', 'memory'),
      decode: (reply) => /^maxmemory_policy:([a-z-]+)/m.exec(String(reply))?.[1],
    })
  }
}

async function readable<Value>(outcome: Promise<Value>): Promise<Value> {
  try {
    return await outcome
  } catch (error) {
    // The runner's error for a key that holds something else.
    throw error instanceof SessionInvalidError ? new LabelsUnreadableError() : error
  }
}
