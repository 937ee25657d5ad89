// Runs the core of the suite on every supported version of Node: `npm run test:nodes -- [version or file ...]`.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { nodeProgram } from './support/node-program.ts'

// The least that package.json allows, and the newest of the others.
const VERSIONS = ['20.19.0', '22.23.3', '24.21.0', '25.9.0']
// What depends on Node rather than on our own logic: streams, sockets, crypto, timers, and whole apps.
const CORE = [
  'test/seal',
  'test/session',
  'test/errors.test.ts',
  'test/operations-callback.test.ts',
  'test/operations-deadline.test.ts',
  'test/backend/valkey/valkey-backend.test.ts',
  'test/backend/valkey/tls.test.ts',
  'test/backend/valkey/command-runner.test.ts',
  'test/store/express.test.ts',
  'test/store/callbacks.test.ts',
  'test/store/logout-race.test.ts',
  'test/registry/end-all.test.ts',
  'test/registry/watch.test.ts',
  'test/http/response-hold.test.ts',
  'test/http/session-guard.test.ts',
  'test/http/close-on-end.test.ts',
  'test/http/taint-first-byte.test.ts',
  'test/auth/access-token.test.ts',
  'test/package/entry-points.test.ts',
  'test/neighbours',
]

const asked = process.argv.slice(2)
const chosen = asked.filter((each) => /^\d/.test(each))
const versions = VERSIONS.filter(
  (version) => chosen.length === 0 || chosen.some((each) => version.startsWith(each)),
)
const files = asked.filter((each) => !/^\d/.test(each))
const failed: string[] = []
for (const version of versions) if (!(await passesOn(version))) failed.push(version)
console.log(failed.length === 0 ? 'All versions passed' : `Failed on Node ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1

async function passesOn(version: string): Promise<boolean> {
  console.log(`Node ${version}`)
  const program = await nodeProgram(version)
  const vitest = join(import.meta.dirname, '../node_modules/vitest/vitest.mjs')
  const args = ['run', '--reporter=dot', ...(files.length > 0 ? files : CORE)]
  // First in the PATH, too, for what starts `node` by its name.
  const PATH = `${join(program, '..')}:${process.env['PATH']}`
  const suite = spawn(program, [vitest, ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, PATH },
  })
  const [code] = (await once(suite, 'exit')) as [number | null]
  return code === 0
}
