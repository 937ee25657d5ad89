import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ROOT } from './library.ts'

/** What a program prints, warnings included. */
function printed(code: string, { type = 'commonjs', cwd = ROOT } = {}): string {
  const script = `process.on('warning', (warning) => console.log(warning.message));${code}`
  return execFileSync(process.execPath, [`--input-type=${type}`, '-e', script], {
    cwd,
    encoding: 'utf8',
  }).trim()
}

/** The built package, installed with these of its peers alone. */
function installed(peers: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'entry-points-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  mkdirSync(join(folder, 'node_modules/@node-rs'), { recursive: true })
  for (const peer of peers) symlinkSync(join(ROOT, 'node_modules', peer), join(folder, 'node_modules', peer))
  return folder
}

describe('The entry points', () => {
  it.each([
    ['auth', 'index'],
    ['index', 'auth'],
  ])('are whole in CommonJS, whichever comes first: %s, then %s', (first, second) => {
    const code = `require('./dist/${first}.cjs'); require('./dist/${second}.cjs');
      const { SessionStoreError } = require('./dist/index.cjs');
      const { createAuthRouter } = require('./dist/auth.cjs');
      console.log(typeof SessionStoreError, typeof createAuthRouter)`

    expect(printed(code)).toBe('function function')
  })

  it.each([
    ['commonjs', "const { localUsers } = require('./dist/auth.cjs')"],
    ['module', "import { localUsers } from './dist/auth.js'"],
  ])('name the package that passwords need where it is missing: %s', (type, load) => {
    const code = `${load}; try { localUsers({ find() {} }) } catch (error) { console.log(error.message) }`

    expect(printed(code, { type, cwd: installed(['jose']) })).toBe(
      'Passwords need the package "@node-rs/argon2", 2.2 or newer: npm install @node-rs/argon2',
    )
  })

  it('name the package that tokens need where it is missing', () => {
    const code = "import('./dist/auth.js').catch((error) => console.log(error.message))"

    expect(printed(code, { type: 'module', cwd: installed([]) })).toMatch("Cannot find package 'jose'")
  })
})
