import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { installed } from '../support/npm-install.ts'
import { ROOT } from './library.ts'
import { type LocalRegistry, startLocalRegistry } from './local-registry.ts'
import { packPackage } from './package-tarball.ts'

const INSTALL_TIMEOUT_MS = 240_000

let folder: string
let programs: string
let tarball: string
let registry: LocalRegistry

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'package-managers-'))
  programs = await installed('package-managers', ['pnpm@10', 'yarn@1', 'yarn4@npm:@yarnpkg/cli-dist@4'])
  tarball = (await packPackage(folder)).path
  registry = await startLocalRegistry(tarball)
})
afterAll(async () => {
  await registry?.stop()
  rmSync(folder, { recursive: true, force: true })
})

interface Manager {
  readonly name: string
  /** The program, below `node_modules` of where they are installed. */
  readonly program: string
  readonly install: readonly string[]
  /** How it runs a program of the project. */
  readonly exec: readonly string[]
  readonly settings: () => Readonly<Record<string, string>>
}

const npmrc = () => ({ '.npmrc': `registry=${registry.url}\n` })
const yarnrc = (nodeLinker: string) => () => ({
  '.yarnrc.yml': [
    `npmRegistryServer: "${registry.url}"`,
    'unsafeHttpWhitelist: ["127.0.0.1"]',
    `nodeLinker: ${nodeLinker}`,
    'enableGlobalCache: false',
    'enableTelemetry: false',
    'npmMinimalAgeGate: 0',
    'enableImmutableInstalls: false',
    // Packages of the registry of this test are packed anew each time.
    'checksumBehavior: ignore',
  ].join('\n'),
  'yarn.lock': '',
})

const managers: readonly Manager[] = [
  {
    name: 'pnpm',
    program: 'pnpm/bin/pnpm.cjs',
    install: ['install', '--ignore-scripts', '--store-dir', 'store'],
    exec: ['exec', 'node'],
    settings: npmrc,
  },
  {
    name: 'yarn 1',
    program: 'yarn/bin/yarn.js',
    install: ['install', '--ignore-scripts', '--no-lockfile', '--cache-folder', 'cache'],
    exec: ['-s', 'node'],
    settings: npmrc,
  },
  {
    name: 'yarn 4 with node_modules',
    program: 'yarn4/bin/yarn.js',
    install: ['install', '--mode=skip-build'],
    exec: ['node'],
    settings: yarnrc('node-modules'),
  },
  {
    name: "yarn 4 with Plug'n'Play",
    program: 'yarn4/bin/yarn.js',
    install: ['install', '--mode=skip-build'],
    exec: ['node'],
    settings: yarnrc('pnp'),
  },
]

describe.each(managers)('$name', ({ name, program, install, exec, settings }) => {
  /** Runs the package manager in the project as a user who has installed nothing, and who knows the registry of this test only. */
  async function run(project: string, args: readonly string[]): Promise<string> {
    const env = { PATH: process.env['PATH'], HOME: folder, COREPACK_ENABLE_STRICT: '0', CI: '1' }
    const script = join(programs, 'node_modules', program)
    const ran = promisify(execFile)(process.execPath, [script, ...args], { cwd: project, env })
    const { stdout } = await ran.catch((error: { stdout: string; stderr: string }) => {
      throw new Error(`${name} ${args.join(' ')} failed:\n${error.stdout}\n${error.stderr}`)
    })
    return stdout.trim()
  }

  /** A copy of the consumer with the tarball and what it needs, installed. */
  async function consumer(kind: string, dependencies: readonly string[]): Promise<string> {
    const project = join(folder, `${name} ${kind}`.replaceAll(/\W/g, '-'))
    cpSync(join(import.meta.dirname, 'consumers', kind), project, { recursive: true })
    for (const [file, text] of Object.entries(settings())) writeFileSync(join(project, file), text)
    const manifest = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as object
    const versions = Object.fromEntries(dependencies.map((dependency) => [dependency, '*']))
    const wanted = { 'express-session-valkey': `file:${tarball}`, ...versions }
    writeFileSync(
      join(project, 'package.json'),
      JSON.stringify({ ...manifest, name: kind, version: '1.0.0', dependencies: wanted }),
    )
    await run(project, install)
    return project
  }

  test.each(['esm', 'cjs'])(
    'installs the packed package, which %s loads',
    async (kind) => {
      const project = await consumer(kind, ['express-session'])

      expect(await run(project, [...exec, 'main.js'])).toContain('ValkeyStore')
    },
    INSTALL_TIMEOUT_MS,
  )

  // TypeScript knows nothing of Plug'n'Play but through Yarn's own patch of it.
  test.each(name.includes("Plug'n'Play") ? [] : ['ts-nodenext-cjs'])(
    'installs the packed package, against which TypeScript compiles %s',
    async (kind) => {
      const types = ['@types/express', '@types/express-session', '@types/node']
      const project = await consumer(kind, ['express-session', ...types])

      await run(project, [...exec, join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.'])

      expect(await run(project, [...exec, 'out/main.js'])).toBe('hello')
    },
    INSTALL_TIMEOUT_MS,
  )
})
