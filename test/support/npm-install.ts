import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/**
 * A folder of the project's cache in which packages are installed that only the long suite needs, and this package as it is
 * built. They are fetched once: again when the list changes.
 */
export async function installed(name: string, packages: readonly string[]): Promise<string> {
  const folder = join(ROOT, '.cache', name)
  const done = join(folder, 'installed.json')
  const wanted = JSON.stringify(packages)
  if (existsSync(done) && readFileSync(done, 'utf8') === wanted) return folder
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}')
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund']
  await run('npm', ['install', '--prefix', folder, ...quiet, ...packages])
  symlinkSync(ROOT, join(folder, 'node_modules', 'express-session-valkey'), 'junction')
  writeFileSync(done, wanted)
  return folder
}
