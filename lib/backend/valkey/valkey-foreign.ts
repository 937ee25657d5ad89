import { SessionInvalidError } from '../../errors.ts'
import type { ForeignValue, ForeignValues } from '../foreign.ts'
import type { CommandRunner } from './commands/command-runner.ts'
import type { CommandArgument } from './connection/client.ts'
import { scanKeys } from './scan.ts'

/** The string values of another program whose keys begin with a prefix of its own. */
export class ValkeyForeign implements ForeignValues {
  readonly #link: CommandRunner
  readonly #prefix: string

  constructor(link: CommandRunner, prefix: string) {
    this.#link = link
    this.#prefix = prefix
  }

  /** The names of all, in steps of a scan. */
  async *names(): AsyncIterable<readonly string[]> {
    const pattern = `${this.#prefix.replaceAll(/[\\*?[\]]/g, '\\$&')}*`
    for await (const keys of scanKeys(this.#link, pattern))
      yield keys.map((key) => key.slice(this.#prefix.length))
  }

  async read(name: string, maxBytes: number): Promise<ForeignValue> {
    const key = this.#prefix + name
    try {
      const [bytes, left] = await Promise.all([
        this.#ask(key, (reply) => (Buffer.isBuffer(reply) ? reply : undefined), [
          'getrange',
          key,
          0,
          maxBytes,
        ]),
        this.#ask(key, (reply) => (typeof reply === 'number' ? reply : undefined), ['pttl', key]),
      ])
      if (bytes.length === 0 || left === -2) return { state: 'missing' }
      if (bytes.length > maxBytes) return { state: 'too-large' }
      return { state: 'value', bytes: Buffer.from(bytes), leftMs: left < 0 ? undefined : left }
    } catch (error) {
      if (error instanceof SessionInvalidError) return { state: 'other-type' }
      throw error
    }
  }

  /** Stores a value, and overwrites any other. */
  async write(name: string, bytes: Buffer, leftMs: number): Promise<void> {
    await this.#tell(this.#prefix + name, 'set', bytes, 'px', Math.max(1, Math.round(leftMs)))
  }

  async expireIn(name: string, ms: number): Promise<void> {
    await this.#tell(this.#prefix + name, 'pexpire', Math.max(1, Math.round(ms)))
  }

  async remove(name: string): Promise<void> {
    await this.#tell(this.#prefix + name, 'unlink')
  }

  #ask<Value>(
    key: string,
    decode: (reply: unknown) => Value | undefined,
    [command, ...args]: readonly [string, ...CommandArgument[]],
  ): Promise<Value> {
    return this.#link.read({ to: { key }, send: (client) => client.callBuffer(command, ...args), decode })
  }

  async #tell(key: string, command: string, ...args: readonly CommandArgument[]): Promise<void> {
    await this.#link.write({
      to: { key },
      send: (client) => client.callBuffer(command, key, ...args),
      decode: (reply) => ({ reply }),
    })
  }
}
