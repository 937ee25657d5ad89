import { execFile } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const APP = fileURLToPath(new URL('node-versions-app.mjs', import.meta.url))

/** The program of a version, from the package that has it; kept in the project's cache. */
async function nodeOf(version: string): Promise<string> {
  const folder = join(ROOT, '.cache', 'node-versions', version)
  const program = join(folder, 'node_modules', 'node', 'bin', 'node')
  if (existsSync(program)) return program
  mkdirSync(folder, { recursive: true })
  const spec = `node@npm:node-${process.platform}-${process.arch}@${version}`
  await run('npm', [
    'install',
    '--prefix',
    folder,
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-save',
    spec,
  ])
  return program
}

// What the guard uses of Node is not documented.
test.concurrent.each(['20.20.2', '22.23.3', '24.21.0', '25.9.0', '26.10.0'])(
  'the guard holds on Node %s',
  async (version) => {
    const { stdout } = await run(await nodeOf(version), [APP], { cwd: ROOT })

    expect(JSON.parse(stdout)).toEqual([
      [200, 1_000_000],
      [500, 'Internal Server Error'.length],
    ])
  },
)
