import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { freePort } from './free-port.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const START_MS = 30_000

/** A program of examples/ that runs in a process of its own and listens. */
export interface RunningProgram {
  readonly origin: string
  /** Everything it has printed so far. */
  output(): string
  /** Asks it to stop, as an operator would, and answers its exit code: `null` if the signal ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** Starts `examples/…` on a free port, which it gets as PORT, and waits until it names its address. */
export async function startProgram(
  file: string,
  env: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
): Promise<RunningProgram> {
  if (!existsSync(`${ROOT}dist/index.js`))
    throw new Error('The examples import the built package: npm run build')
  const port = env['PORT'] ?? String(await freePort())
  const origin = `http://127.0.0.1:${port}`
  const child = spawn(process.execPath, ['--import', 'tsx', file, ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], ...env, PORT: port },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  let output = ''
  const listening = new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes(origin)) resolve()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.on('exit', (code) =>
      reject(new Error(`${file} exited with ${code} before it listened:\n${output}`)),
    )
    setTimeout(
      () => reject(new Error(`${file} did not listen within ${START_MS} ms:\n${output}`)),
      START_MS,
    ).unref()
  })
  const stop = (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal)
    return exited
  }
  await listening.catch((error: unknown) => {
    kill()
    throw error
  })
  return { origin, output: () => output, stop }
}
