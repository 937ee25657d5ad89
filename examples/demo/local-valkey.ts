import { type ChildProcess, type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis, type RedisOptions } from 'iovalkey'

const HOST = '127.0.0.1'
const READY_MS = 10_000
const CACHE = fileURLToPath(new URL('../../.cache/', import.meta.url))

/** A server that the demo starts for itself, on a free port of 127.0.0.1 and in a folder of its own. */
export interface LocalValkey {
  readonly host: string
  readonly port: number
  readonly url: string
  readonly state: 'running' | 'frozen' | 'down'
  /** A client without retries that is disconnected when the server is stopped. */
  client(options?: RedisOptions): Redis
  /** Stops the process where it is: connections stay, nothing is answered. */
  freeze(): void
  thaw(): void
  kill(): Promise<void>
  /** Starts it again, on the same port and with what it had stored. */
  restart(): Promise<void>
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

/** A server program, and the environment it runs in. */
export interface ValkeyProgram {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
}

/** Starts a server, if one is installed or in the project's cache; else `undefined`. */
export async function startLocalValkey(program = findProgram()): Promise<LocalValkey | undefined> {
  if (program === undefined) return undefined
  const server = new LocalServer(program, await freePort())
  try {
    await server.restart()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

// Ends the server when this process is no more, however it ended: its end of the pipe closes. It reads the server's pid
// whenever that changes.
const WATCHDOG = `
trap '' INT TERM HUP
pid=
while read -r word; do pid="$word"; done
[ -n "$pid" ] && kill -KILL "$pid" && sleep 0.2
rm -rf "$1"
`

class LocalServer implements LocalValkey {
  readonly host = HOST
  readonly port: number
  readonly #program: ValkeyProgram
  readonly #folder = mkdtempSync(join(tmpdir(), 'demo-valkey-'))
  readonly #clients = new Set<Redis>()
  #child: ChildProcess | undefined
  readonly #watchdog = startWatchdog(this.#folder)
  #isFrozen = false

  constructor(program: ValkeyProgram, port: number) {
    this.#program = program
    this.port = port
  }

  get url(): string {
    return `valkey://${HOST}:${this.port}`
  }

  get state(): 'running' | 'frozen' | 'down' {
    if (this.#child === undefined) return 'down'
    return this.#isFrozen ? 'frozen' : 'running'
  }

  client(options: RedisOptions = {}): Redis {
    const client = new Redis({
      host: HOST,
      port: this.port,
      maxRetriesPerRequest: 0,
      commandTimeout: 1000,
      ...options,
    })
    client.on('error', () => undefined)
    client.once('end', () => this.#clients.delete(client))
    this.#clients.add(client)
    return client
  }

  freeze(): void {
    this.#isFrozen = this.#child?.kill('SIGSTOP') ?? false
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
    this.#isFrozen = false
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    const exited = once(child, 'exit')
    this.thaw()
    child.kill('SIGKILL')
    await exited
  }

  async restart(): Promise<void> {
    await this.kill()
    const { path, env } = this.#program
    // In a process group of its own: Ctrl+C is for the demo, which ends it when the last session is stored.
    const child = spawn(path, this.#arguments(), { cwd: this.#folder, env, stdio: 'ignore', detached: true })
    this.#child = child
    child.unref()
    child.once('error', () => this.#forget(child))
    child.once('exit', () => this.#forget(child))
    this.#watchdog.stdin.write(`${child.pid ?? ''}\n`)
    await this.#untilReady()
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    await this.kill()
    this.#watchdog.stdin.end()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #arguments(): string[] {
    const settings = {
      port: this.port,
      bind: HOST,
      dir: this.#folder,
      save: '',
      appendonly: 'yes',
      appendfsync: 'always',
    }
    return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
  }

  async #untilReady(): Promise<void> {
    const giveUpAt = Date.now() + READY_MS
    while (!(await answers(this.port))) {
      if (this.#child === undefined || Date.now() > giveUpAt)
        throw new Error(`${this.#program.path} does not start`)
      await delay(30)
    }
  }

  #forget(child: ChildProcess): void {
    if (this.#child !== child) return
    this.#child = undefined
    this.#watchdog.stdin.write('\n')
    this.#isFrozen = false
  }
}

function startWatchdog(folder: string): ChildProcessByStdio<Writable, null, null> {
  const watchdog = spawn('sh', ['-c', WATCHDOG, 'sh', folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watchdog.on('error', () => undefined)
  watchdog.stdin.on('error', () => undefined)
  watchdog.unref()
  return watchdog
}

function findProgram(): ValkeyProgram | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  for (const name of ['valkey-server', 'redis-server']) {
    const path = folders.map((folder) => join(folder, name)).find((file) => existsSync(file))
    if (path !== undefined && isNewEnough({ path, env: process.env })) return { path, env: process.env }
  }
  return ['valkey', 'redis']
    .map(cachedProgram)
    .find((program) => program !== undefined && isNewEnough(program))
}

/** The program that `npm test` has fetched: a package unpacked into the cache, with the libraries it needs. */
function cachedProgram(name: string): ValkeyProgram | undefined {
  const root = join(CACHE, name)
  const path = join(root, `usr/bin/${name}-server`)
  if (!existsSync(path)) return undefined
  const libraries = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((file) => /\.so(\.|$)/.test(file.name) && !file.isDirectory())
    .map((file) => file.parentPath)
  return { path, env: { ...process.env, LD_LIBRARY_PATH: [...new Set(libraries)].join(delimiter) } }
}

function isNewEnough({ path, env }: ValkeyProgram): boolean {
  try {
    const version = /\bv=(\d+)\./.exec(execFileSync(path, ['--version'], { env, encoding: 'utf8' }))?.[1]
    return Number(version) >= 7
  } catch {
    return false
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('No free port')
  return address.port
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: HOST, port }, () => socket.end('PING\r\n'))
    socket.once('data', (reply) => resolve(reply.toString().startsWith('+PONG')))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
}
