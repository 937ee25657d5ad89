import { type ParseArgsConfig, parseArgs } from 'node:util'
import { isHandle } from '../session/names.ts'
import type { Output } from './output.ts'

/** What a process exits with. docs/guide/cli.md documents each. */
export const EXIT = { ok: 0, found: 1, usage: 2, unavailable: 3, missing: 4, interrupted: 130 } as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** One option of a command line. */
export interface Flag {
  readonly help: string
  /** What the value is called in the usage; without one, the flag has no value. */
  readonly value?: string
}

export type Flags = Readonly<Record<string, Flag>>

export interface Command {
  /** The words that choose it, as `sessions list`. */
  readonly name: string
  readonly summary: string
  /** Its operands, as the usage shows them: `<handle>`, or `[<handle>]` where it may be left out. */
  readonly operand?: string
  readonly flags: Flags
  run(invocation: Invocation): Promise<ExitCode>
}

/** A command line that cannot be understood. Its message never quotes a value. */
export class UsageError extends Error {}

/** Flags of every command. */
export const GENERAL_FLAGS: Flags = {
  json: { help: 'print JSON: one document, or one line for each thing found' },
  help: { help: 'show this help' },
}

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly output: Output
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
}

/** One command line, taken apart, and what surrounds the process. */
export class Invocation implements Surroundings {
  readonly env: Surroundings['env']
  readonly output: Output
  readonly signal: AbortSignal
  readonly #values: Readonly<Record<string, unknown>>
  readonly #operands: readonly string[]

  constructor(command: Command, words: readonly string[], { env, output, signal }: Surroundings) {
    this.env = env
    this.output = output
    this.signal = signal
    const { values, positionals } = parsed(command, words)
    const allowed = command.operand === undefined ? 0 : 1
    if (positionals.length > allowed) throw new UsageError(`"${command.name}" takes no further operand`)
    this.#values = values
    this.#operands = positionals
  }

  has(name: string): boolean {
    return this.#values[name] === true
  }

  text(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  /** The value of a flag, or of an environment variable where the flag is not given. */
  textOrEnv(name: string, variable: string): string | undefined {
    return this.text(name) ?? (this.env[variable] || undefined)
  }

  required(name: string): string {
    const value = this.text(name)
    if (value === undefined || value === '') throw new UsageError(`--${name} is required`)
    return value
  }

  /** The whole positive number that a flag gives, if it is given. */
  number(name: string): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    if (/^[1-9]\d{0,11}$/.test(value)) return Number(value)
    throw new UsageError(`--${name} must be a whole number of at least 1`)
  }

  oneOf<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const word = words.find((each) => each === value)
    if (word === undefined) throw new UsageError(`--${name} must be one of ${words.join(', ')}`)
    return word
  }

  get operand(): string | undefined {
    return this.#operands[0]
  }
}

// One handle in 64 begins with a dash, as an option does.
function withHandles(words: readonly string[]): string[] {
  const isDashed = (word: string | undefined) => word?.startsWith('-') === true && isHandle(word)
  const isValue = (at: number) => words[at - 1] === '--except'
  const operands = words.filter((word, at) => isDashed(word) && !isValue(at))
  const others = words.flatMap((word, at) => {
    if (word === '--except' && isDashed(words[at + 1])) return [`--except=${words[at + 1]}`]
    return isDashed(word) ? [] : [word]
  })
  return operands.length === 0 ? others : [...others, '--', ...operands]
}

function parsed(command: Command, words: readonly string[]) {
  const flags = Object.entries({ ...command.flags, ...GENERAL_FLAGS })
  const options: ParseArgsConfig['options'] = Object.fromEntries(
    flags.map(([name, { value }]) => [name, { type: value === undefined ? 'boolean' : 'string' }]),
  )
  try {
    return parseArgs({ args: withHandles(words), options, allowPositionals: true, strict: true })
  } catch (error) {
    // The parser quotes what it was given, which may be a URL with a password.
    const [flag] = /(?<=')--?[\w-]+/.exec(error instanceof Error ? error.message : '') ?? ['an option']
    throw new UsageError(`${flag} is not known to "${command.name}", lacks its value, or takes none`)
  }
}
