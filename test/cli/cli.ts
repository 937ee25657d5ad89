import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export interface Ran {
  /** The exit code; `null` if a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCli {
  readonly finished: Promise<Ran>
  stdout(): string
  stderr(): string
  kill(signal: NodeJS.Signals): void
}

type Env = Readonly<Record<string, string | undefined>>

/** Starts the built program, as its `bin` names it, with nothing in its environment but `env`. */
export function startCli(
  words: readonly string[],
  env: Env = {},
  nodeFlags: readonly string[] = [],
): RunningCli {
  const { bin } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { bin: Record<string, string> }
  const file = `${ROOT}${bin['express-session-valkey']}`
  if (!existsSync(file)) throw new Error('The tests run the built program: npm run build')
  const child = spawn(process.execPath, [...nodeFlags, file, ...words], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const finished = once(child, 'close').then(([code]) => {
    process.off('exit', kill)
    return { code: code as number | null, stdout, stderr }
  })
  return { finished, stdout: () => stdout, stderr: () => stderr, kill: (signal) => child.kill(signal) }
}

/** Runs it to its end. */
export function runCli(words: readonly string[], env: Env = {}): Promise<Ran> {
  return startCli(words, env).finished
}

/** Runs it with `--json`, and answers the one document it prints. */
export async function jsonOf<Document>(words: readonly string[], env: Env = {}): Promise<Document> {
  const { stdout, stderr, code } = await runCli([...words, '--json'], env)
  try {
    return JSON.parse(stdout) as Document
  } catch {
    throw new Error(`${words.join(' ')} printed no JSON (exit ${code}):\n${stdout}\n${stderr}`)
  }
}
