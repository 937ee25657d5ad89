import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'
import { ROOT } from '../package/library.ts'
import { installed } from '../support/npm-install.ts'
import { type RunningProgram, startProgram } from '../support/program.ts'
import { ValkeyServer } from '../support/valkey-server.ts'
import { codeOf } from './page.ts'

export interface Neighbour {
  /** Of its folder in the cache. */
  readonly name: string
  readonly packages: readonly string[]
  /** The program of test/neighbours/apps that uses the page's code. */
  readonly app: string
  /** What the page's code is under. */
  readonly heading: string
}

// As users have it: strict, and with what the package's own project forbids.
const COMPILER_OPTIONS = {
  target: 'es2022',
  module: 'esnext',
  moduleResolution: 'bundler',
  lib: ['es2023', 'dom', 'dom.iterable'],
  jsx: 'react-jsx',
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  experimentalDecorators: true,
  types: ['node'],
}

/** Installs the neighbour, puts the page's code and the program that uses it beside it, and compiles both. */
export async function prepare({ name, packages, app, heading }: Neighbour): Promise<string> {
  const folder = await installed(join('neighbours', name), packages)
  writeFileSync(join(folder, 'page.ts'), codeOf(heading))
  cpSync(join(import.meta.dirname, 'apps', app), join(folder, 'main.ts'))
  const config = { compilerOptions: COMPILER_OPTIONS, files: ['main.ts', 'page.ts'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const compiled = promisify(execFile)(
    process.execPath,
    [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.'],
    { cwd: folder },
  )
  await compiled.catch(({ stdout }: { stdout: string }) => {
    throw new Error(`The page's code for ${name} does not compile:\n${stdout}`)
  })
  return folder
}

/** Starts the prepared program; it is stopped after the test. */
export async function start(folder: string, env: Readonly<Record<string, string>>): Promise<RunningProgram> {
  const program = await startProgram(relative(ROOT, join(folder, 'main.ts')), {
    TSX_TSCONFIG_PATH: join(folder, 'tsconfig.json'),
    ...env,
  })
  onTestFinished(async () => void (await program.stop('SIGKILL')))
  return program
}

/** The secrets of one app; the same ones twice are a restart of it. */
export function appSecrets(): Record<'SESSION_KEY' | 'COOKIE_SECRET', string> {
  return { SESSION_KEY: randomBytes(32).toString('hex'), COOKIE_SECRET: randomBytes(32).toString('hex') }
}

/** A server of one test: the page's apps have the same prefix. */
export async function ownValkey(): Promise<ValkeyServer> {
  const server = await ValkeyServer.start()
  onTestFinished(() => server.stop())
  return server
}
