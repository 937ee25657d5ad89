import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { installPackage, packPackage } from './package-tarball.ts'

const run = promisify(execFile)
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'auth-entry-'))
  const { path } = await packPackage(folder)
  await installPackage(folder, path, [])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function outputOf(name: string, code: string, cwd = folder): Promise<string> {
  writeFileSync(join(cwd, name), code)
  const { stdout } = await run(process.execPath, [name], { cwd })
  return stdout.trim()
}

const ROUTER = `
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const store = new InProcessStore()
  const router = createAuthRouter({
    issuer: 'https://app.example', audience: 'app', keys: [privateKey], authenticate: async () => undefined, store,
  })
  console.log(typeof router, router.registry === store.registry)`

describe('The entry point of tokens, as it is published', () => {
  test.each([
    [
      'a module',
      'esm.mjs',
      `import { generateKeyPairSync } from 'node:crypto'
       import { InProcessStore } from 'express-session-valkey'
       import { createAuthRouter } from 'express-session-valkey/auth'`,
    ],
    [
      'CommonJS',
      'cjs.cjs',
      `const { generateKeyPairSync } = require('node:crypto')
       const { InProcessStore } = require('express-session-valkey')
       const { createAuthRouter } = require('express-session-valkey/auth')`,
    ],
    [
      'a module with a store of CommonJS',
      'mixed.mjs',
      `import { generateKeyPairSync } from 'node:crypto'
       import { createRequire } from 'node:module'
       import { createAuthRouter } from 'express-session-valkey/auth'
       const { InProcessStore } = createRequire(import.meta.url)('express-session-valkey')`,
    ],
  ])('works from %s', async (_name, file, imports) => {
    expect(await outputOf(file, imports + ROUTER)).toBe('function true')
  })

  test('names jose where that is not installed, and the main entry point does without it', async () => {
    const project = mkdtempSync(join(tmpdir(), 'auth-entry-bare-'))
    onTestFinished(() => rmSync(project, { recursive: true, force: true }))
    const bare = join(project, 'node_modules')
    mkdirSync(bare)
    for (const name of ['express-session', 'iovalkey', 'cockatiel'])
      symlinkSync(join(folder, 'node_modules', name), join(bare, name), 'junction')
    await run('cp', ['-r', join(folder, 'node_modules', 'express-session-valkey'), bare])
    const main = `import { InProcessStore } from 'express-session-valkey'; console.log(typeof InProcessStore)`

    expect(await outputOf('main.mjs', main, project)).toBe('function')
    await expect(outputOf('auth.mjs', `import 'express-session-valkey/auth'`, project)).rejects.toThrow(
      /Cannot find package 'jose'/,
    )
  })
})
