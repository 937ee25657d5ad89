#!/usr/bin/env node
import { SessionStoreError, StoreSecretsError } from '../errors.ts'
import { type Command, EXIT, type ExitCode, GENERAL_FLAGS, Invocation, UsageError } from './command.ts'
import { acl } from './commands/acl.ts'
import { exportConnectRedis, importConnectRedis } from './commands/connect-redis.ts'
import { doctor } from './commands/doctor.ts'
import { init } from './commands/init.ts'
import { inspect, showSession } from './commands/inspect.ts'
import { keygen } from './commands/keygen.ts'
import { rewrap } from './commands/rewrap.ts'
import { countSessions, endAllSessions, endSession, listSessions } from './commands/sessions.ts'
import { stats } from './commands/stats.ts'
import { watch } from './commands/watch.ts'
import { Output, printable } from './output.ts'
import { manifest } from './package-files.ts'

const COMMANDS: readonly Command[] = [
  init,
  keygen,
  acl,
  doctor,
  listSessions,
  countSessions,
  showSession,
  endSession,
  endAllSessions,
  inspect,
  watch,
  stats,
  rewrap,
  importConnectRedis,
  exportConnectRedis,
]

const NAME = 'express-session-valkey'

async function main(words: readonly string[]): Promise<ExitCode> {
  const output = new Output(process, words.includes('--json'))
  try {
    return await run(words, output)
  } catch (error) {
    const { message, exitCode } = failureOf(error)
    if (output.isJson) output.print({ error: message, exitCode }, message)
    output.note(`${NAME}: ${message}`)
    return exitCode
  }
}

async function run(words: readonly string[], output: Output): Promise<ExitCode> {
  const asksForHelp = words.length === 0 || words.includes('--help') || words[0] === 'help'
  const command = commandOf(words[0] === 'help' ? words.slice(1) : words)
  if (words[0] === '--version') {
    const { version } = manifest()
    output.print({ version }, version)
    return EXIT.ok
  }
  if (asksForHelp) {
    process.stdout.write(`${command === undefined ? overview() : usageOf(command)}\n`)
    return EXIT.ok
  }
  if (command === undefined)
    throw new UsageError(`no such command; "${NAME} help" lists them. Options come after the command`)
  const rest = words.slice(command.name.split(' ').length)
  return command.run(new Invocation(command, rest, { env: process.env, output, signal: interruption() }))
}

// The first signal lets a command come to an end; a second one is Node's own.
function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => controller.abort(new Error('interrupted')))
  return controller.signal
}

function commandOf(words: readonly string[]): Command | undefined {
  return COMMANDS.find(({ name }) => name.split(' ').every((word, at) => word === words[at]))
}

function failureOf(error: unknown): { readonly message: string; readonly exitCode: ExitCode } {
  if (error instanceof UsageError || error instanceof StoreSecretsError)
    return { message: error.message, exitCode: EXIT.usage }
  if (error instanceof SessionStoreError) {
    const exitCode = error.status === 503 ? EXIT.unavailable : EXIT.found
    return { message: `${error.message} (${error.code})`, exitCode }
  }
  // Nothing that is not ours is quoted: it may hold an argument of a command.
  const { name = 'Error', code = '' } = Object(error) as { name?: string; code?: string }
  return { message: `failed unexpectedly (${printable(`${name} ${code}`.trim())})`, exitCode: EXIT.found }
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name, operand = '' }) => name.length + operand.length + 1))
  const lines = COMMANDS.map(
    ({ name, operand = '', summary }) => `  ${`${name} ${operand}`.padEnd(width)}  ${summary}`,
  )
  return [
    `Usage: ${NAME} <command> [options]`,
    '',
    ...lines,
    '',
    `${NAME} help <command> shows its options.`,
  ].join('\n')
}

function usageOf({ name, operand, summary, flags }: Command): string {
  const all = Object.entries({ ...flags, ...GENERAL_FLAGS })
  const named = all.map(([flag, { value }]) => `--${flag}${value === undefined ? '' : ` ${value}`}`)
  const width = Math.max(...named.map(({ length }) => length))
  const lines = all.map(([, { help }], at) => `  ${(named[at] ?? '').padEnd(width)}  ${help}`)
  const usage = [NAME, name, operand, '[options]'].filter(Boolean).join(' ')
  return [`Usage: ${usage}`, '', `${summary[0]?.toUpperCase()}${summary.slice(1)}.`, '', ...lines].join('\n')
}

process.exitCode = await main(process.argv.slice(2))
