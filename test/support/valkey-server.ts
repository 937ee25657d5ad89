import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis, type RedisOptions } from 'iovalkey'
import { freePort } from './free-port.ts'
import { until } from './until.ts'
import { type ServerBinary, serverBinary } from './valkey-binary.ts'
import { Watchdog } from './watchdog.ts'

export interface ServerOptions {
  /** More arguments for the server; they come last and so win. */
  readonly args?: readonly string[]
  /** A configuration file, which a sentinel needs: it writes to it. */
  readonly config?: string
}

const HOST = '127.0.0.1'
const LAUNCHES = 5
const ENDING_SIGNALS: readonly NodeJS.Signals[] = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT']
const READY = /Ready to accept connections|\+monitor master/
const PORT_TAKEN = /Address already in use|Failed listening on port/i

/** A server process of our own: on a free port of 127.0.0.1, in a folder of its own, gone when the tests are. */
export class ValkeyServer {
  readonly host = HOST
  readonly dir = mkdtempSync(join(tmpdir(), 'valkey-test-'))
  readonly #binary: ServerBinary
  readonly #options: ServerOptions
  readonly #watchdog = new Watchdog(this.dir)
  readonly #clients = new Set<Redis>()
  #process: ChildProcess | undefined
  #ports = { port: 0, busPort: 0 }

  private constructor(binary: ServerBinary, options: ServerOptions) {
    this.#binary = binary
    this.#options = options
    if (options.config !== undefined) writeFileSync(this.#configFile, options.config)
  }

  static async start(options: ServerOptions = {}): Promise<ValkeyServer> {
    const server = new ValkeyServer(await serverBinary(), options)
    try {
      await server.#startOnFreePort()
      return server
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  get port(): number {
    return this.#ports.port
  }

  /** The port of the cluster's own bus. */
  get busPort(): number {
    return this.#ports.busPort
  }

  get url(): string {
    return `valkey://${HOST}:${this.port}`
  }

  get pid(): number {
    const pid = this.#process?.pid
    if (pid === undefined) throw new Error(`The server on port ${this.port} is not running`)
    return pid
  }

  get running(): boolean {
    return this.#process !== undefined
  }

  /** A client that is disconnected when the server is stopped. */
  client(options: RedisOptions = {}): Redis {
    const client = new Redis({ host: HOST, port: this.port, ...options })
    client.on('error', () => undefined)
    client.once('end', () => this.#clients.delete(client))
    this.#clients.add(client)
    return client
  }

  /** Sends a signal; after one that ends the process, waits until it has ended. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    const ended = ENDING_SIGNALS.includes(signal) ? once(child, 'exit') : undefined
    child.kill(signal)
    await ended
  }

  /** Stops the process where it is: connections stay, nothing answers. */
  async freeze(): Promise<void> {
    const { pid } = this
    await this.kill('SIGSTOP')
    await until(() => processState(pid) === 'T', { what: `server ${pid} is frozen` })
  }

  async thaw(): Promise<void> {
    await this.kill('SIGCONT')
  }

  /** Starts it again on the same port and in the same folder, after ending it if it still runs. */
  async restart(): Promise<void> {
    await this.thaw()
    await this.kill()
    await this.#launch()
  }

  /** Ends it, disconnects its clients and removes its folder. Stopping twice is fine. */
  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    await this.thaw()
    await this.kill()
    this.#watchdog.dismiss()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** What the server has written so far. */
  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : ''
  }

  get #logFile(): string {
    return join(this.dir, 'server.log')
  }

  get #configFile(): string {
    return join(this.dir, 'server.conf')
  }

  async #startOnFreePort(): Promise<void> {
    for (let launches = 1; ; launches++) {
      this.#ports = { port: await freePort(), busPort: await freePort() }
      try {
        await this.#launch()
        return
      } catch (error) {
        if (launches === LAUNCHES || !PORT_TAKEN.test(this.log())) throw error
      }
    }
  }

  async #launch(): Promise<void> {
    const before = this.log().length
    const child = this.#spawn()
    this.#process = child
    child.once('exit', () => this.#forget())
    if (child.pid !== undefined) this.#watchdog.watch(child.pid)
    await until(() => this.#process === undefined || READY.test(this.log().slice(before)), {
      withinMs: 20_000,
      what: `server on port ${this.port} is ready`,
    })
    // Only our own process writes to this log, so whoever answers on the port now is the one we started.
    if (this.#process === undefined) throw new Error(`The server did not start:\n${this.log().slice(before)}`)
  }

  #spawn(): ChildProcess {
    const log = openSync(this.#logFile, 'a')
    try {
      const { path, env } = this.#binary
      return spawn(path, this.#arguments(), { cwd: this.dir, env, stdio: ['ignore', log, log] }).once(
        'error',
        () => this.#forget(),
      )
    } finally {
      closeSync(log)
    }
  }

  #arguments(): string[] {
    const { config, args = [] } = this.#options
    const settings = {
      port: this.port,
      'cluster-port': this.busPort,
      bind: HOST,
      dir: this.dir,
      save: '',
      appendonly: 'no',
      'enable-debug-command': 'local',
    }
    const file = config === undefined ? [] : [this.#configFile]
    return [
      ...file,
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
      ...args,
    ]
  }

  #forget(): void {
    this.#process = undefined
    this.#watchdog.unwatch()
  }
}

/** The letter of a process's state where the system shows it; `T` is frozen. */
function processState(pid: number): string {
  const file = `/proc/${pid}/stat`
  if (!existsSync(file)) return 'T'
  return readFileSync(file, 'utf8')
    .replace(/^.*\) /s, '')
    .charAt(0)
}
