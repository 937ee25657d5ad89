import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { type InstalledServer, installedServer } from './valkey-install.ts'

/** The server program that tests start. */
export interface ServerBinary {
  readonly path: string
  readonly version: string
  readonly env: NodeJS.ProcessEnv
}

const OLDEST_MAJOR = 7
const NAMES = ['valkey-server', 'redis-server']

/** What the override variable says: a program to start, or the URL of a running server, or nothing. */
export function override(): { readonly path?: string; readonly url?: string } {
  const value = process.env['TEST_VALKEY_SERVER']?.trim() ?? ''
  if (value === '') return {}
  return value.includes('://') ? { url: value } : { path: value }
}

let found: Promise<ServerBinary> | undefined

/**
 * The server program: the one `TEST_VALKEY_SERVER` names, else one from PATH that is new enough, else the one in the
 * project's cache, which is fetched the first time. Rejects, and says what to do, when there is none.
 */
export function serverBinary(): Promise<ServerBinary> {
  found ??= findServer()
  return found
}

async function findServer(): Promise<ServerBinary> {
  const { path } = override()
  if (path !== undefined) return overriddenServer(path)
  return (await serverOnPath()) ?? (await cachedServer())
}

async function overriddenServer(path: string): Promise<ServerBinary> {
  const server = await inspect(path)
  if (server !== undefined && isNewEnough(server)) return server
  const fault =
    server === undefined ? 'is not a Valkey or Redis server that runs' : `is version ${server.version}`
  throw new Error(
    `TEST_VALKEY_SERVER: ${JSON.stringify(path)} ${fault}; name a valkey-server or redis-server ≥ ${OLDEST_MAJOR}.0`,
  )
}

async function serverOnPath(): Promise<ServerBinary | undefined> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  const paths = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).filter((path) =>
    existsSync(path),
  )
  for (const path of paths) {
    const server = await inspect(path)
    if (server !== undefined && isNewEnough(server)) return server
  }
  return undefined
}

async function cachedServer(): Promise<ServerBinary> {
  const cached = await installedServer().catch((cause) => {
    throw new Error(`${howToInstall()}\nFetching one failed: ${cause}`, { cause })
  })
  const server = cached && (await inspect(cached.path, { ...process.env, ...cached.env }))
  if (server !== undefined && isNewEnough(server)) return server
  throw new Error(howToInstall(cached))
}

async function inspect(path: string, env = process.env): Promise<ServerBinary | undefined> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { env, timeout: 10_000 })
    const version = /\bv=(\d+\.\d+\.\d+)/.exec(stdout)?.[1]
    return version === undefined ? undefined : { path, version, env }
  } catch {
    return undefined
  }
}

function isNewEnough(server: ServerBinary): boolean {
  return Number.parseInt(server.version, 10) >= OLDEST_MAJOR
}

function howToInstall(tooOld?: InstalledServer): string {
  const found = tooOld === undefined ? '' : ` (the one in ${tooOld.path} does not run, or is older)`
  return (
    `The tests need valkey-server or redis-server ≥ ${OLDEST_MAJOR}.0${found}. Install one: ${installerCommand()}` +
    ' — or set TEST_VALKEY_SERVER to the path of a server program.'
  )
}

const INSTALLERS: readonly (readonly [program: string, command: string])[] = [
  ['/usr/bin/apt-get', 'sudo apt-get install --no-install-recommends valkey-server'],
  ['/usr/bin/dnf', 'sudo dnf install valkey'],
  ['/usr/bin/pacman', 'sudo pacman -S valkey'],
  ['/usr/bin/zypper', 'sudo zypper install valkey'],
  ['/sbin/apk', 'sudo apk add valkey'],
]

function installerCommand(): string {
  if (process.platform === 'darwin') return 'brew install valkey'
  const known = INSTALLERS.find(([program]) => existsSync(program))
  return known?.[1] ?? 'your system’s package "valkey", or build it from source'
}
