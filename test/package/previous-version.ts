import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Redis } from 'iovalkey'
import type * as library from '../../lib/index.ts'
import { ROOT } from './library.ts'
import { installPackage } from './package-tarball.ts'

const run = promisify(execFile)

/** The version beside which this one must run: the last commit of the development round before this one. */
export const PREVIOUS = '084691c'

/** Whether this clone has it: a shallow one does not. */
export const hasPrevious =
  spawnSync('git', ['cat-file', '-e', `${PREVIOUS}^{commit}`], { cwd: ROOT }).status === 0

export type Library = Pick<typeof library, 'ValkeyStore' | 'InProcessStore'>

/** Builds and packs the previous version from the repository's history, installs the tarball, and loads it. */
export async function loadPrevious(): Promise<Library> {
  const folder = join(ROOT, '.cache', 'previous')
  const source = join(folder, 'source')
  const project = join(folder, 'project')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(source, { recursive: true })
  const archive = join(folder, 'source.tar')
  await run('git', ['archive', '-o', archive, PREVIOUS], { cwd: ROOT })
  await run('tar', ['-xf', archive, '-C', source])
  // Its own settings, with the bundler that this project has; nobody reads its declarations here.
  await run(process.execPath, [join(ROOT, 'node_modules/tsdown/dist/run.mjs'), '--no-dts'], { cwd: source })
  const env = { ...process.env, NO_UPDATE_NOTIFIER: '1' }
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const { stdout } = await run('npm', args, { cwd: source, env })
  const [packed] = JSON.parse(stdout) as [{ filename: string }]
  await installPackage(project, join(folder, packed.filename), [])
  const entry = join(project, 'node_modules/express-session-valkey/dist/index.js')
  if (!existsSync(entry)) throw new Error(`${PREVIOUS} has no ${entry}`)
  return (await import(pathToFileURL(entry).href)) as Library
}

/** Keys of a server as text: their type, their values in base64, and when they expire. */
export interface StoredKey {
  readonly key: string
  readonly type: string
  readonly values: readonly string[]
  readonly expiresAtMs: number
}

const base64 = (values: readonly Buffer[]) => values.map((value) => value.toString('base64'))

export async function keysOn(client: Redis): Promise<StoredKey[]> {
  const keys = (await client.keys('*')).sort()
  return Promise.all(
    keys.map(async (key) => {
      const type = await client.type(key)
      const expiresAtMs = Number(await client.call('pexpiretime', key))
      return { key, type, values: base64(await valuesOf(client, key, type)), expiresAtMs }
    }),
  )
}

async function valuesOf(client: Redis, key: string, type: string): Promise<Buffer[]> {
  const found = {
    string: () => client.getBuffer(key),
    zset: () => client.zrangeBuffer(key, '0', '-1', 'WITHSCORES'),
    hash: () => client.callBuffer('hgetall', key),
    set: () => client.smembersBuffer(key),
  }[type]
  if (found === undefined) throw new Error(`${key} is a ${type}`)
  return [(await found()) as Buffer | Buffer[]].flat()
}

export async function putKeys(client: Redis, keys: readonly StoredKey[]): Promise<void> {
  for (const { key, type, values, expiresAtMs } of keys) {
    const words = values.map((value) => Buffer.from(value, 'base64'))
    const pairs = Array.from({ length: words.length / 2 }, (_, at) => words.slice(2 * at, 2 * at + 2))
    if (type === 'string') await client.set(key, words[0] ?? '')
    if (type === 'zset')
      for (const [member = '', score = ''] of pairs) await client.zadd(key, String(score), member)
    if (type === 'hash') await client.call('hset', key, ...words)
    if (type === 'set') await client.call('sadd', key, ...words)
    if (expiresAtMs > 0) await client.call('pexpireat', key, expiresAtMs)
  }
}
