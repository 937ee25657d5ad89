import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { nodeProgram } from '../support/node-program.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const INSTALL_TIMEOUT_MS = 300_000
const APP = fileURLToPath(new URL('node-versions-app.mjs', import.meta.url))

// What the guard uses of Node is not documented.
test.concurrent.each(['20.20.2', '22.23.3', '24.21.0', '25.9.0', '26.10.0'])(
  'the guard holds on Node %s',
  async (version) => {
    const { stdout } = await run(await nodeProgram(version), [APP], { cwd: ROOT })

    expect(JSON.parse(stdout)).toEqual([
      [200, 1_000_000],
      [500, 'Internal Server Error'.length],
    ])
  },
  // The first time each is fetched.
  INSTALL_TIMEOUT_MS,
)
