import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fencesOf } from './code-fences.ts'
import { ROOT } from './library.ts'
import { installPackage, packPackage } from './package-tarball.ts'

// Three strict compilations of every declaration there is take their time on a busy machine.
const COMPILE_TIMEOUT_MS = 240_000
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly devDependencies: Readonly<Record<string, string>>
}
const DEPENDENCIES = [
  '@types/express-session',
  '@types/express',
  '@types/node',
  'express-oauth2-jwt-bearer',
  'ioredis',
  'ioredis6',
]

let folder: string
let tarball: { path: string; files: string[] }

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'consumers-'))
  tarball = await packPackage(folder)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a program in the project; answers what it printed, and fails with it if the program does. */
async function run(project: string, args: readonly string[]): Promise<string> {
  const ran = promisify(execFile)(process.execPath, args, { cwd: project })
  const { stdout } = await ran.catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`node ${args.join(' ')} failed:\n${error.stdout}\n${error.stderr}`)
  })
  return stdout
}

/** A copy of the consumer outside this project, with the packed package installed. */
async function install(name: string, dependencies: readonly string[]): Promise<string> {
  const project = join(folder, name)
  cpSync(join(import.meta.dirname, 'consumers', name), project, { recursive: true })
  await installPackage(project, tarball.path, dependencies)
  return project
}

/** The files that a page of this package links to. */
function linksOf(page: string): string[] {
  const text = readFileSync(join(ROOT, page), 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '')
  return [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !link.includes('://'))
    .map((link) => posix.join(posix.dirname(page), link).replace(/\/$/, ''))
}

describe('The packed package', () => {
  it('has the build, the pages, the examples and the licence, and nothing else', () => {
    // What the entries share is in chunks, with the hash of their content in the name.
    const chunk = /^dist\/[\w-]+-[\w-]{8}\.(js|cjs|d\.ts|d\.cts)$/
    const files = tarball.files.filter((file) => !/^(docs|examples)\//.test(file) && !chunk.test(file))
    expect(files).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'dist/auth.cjs',
      'dist/auth.d.cts',
      'dist/auth.d.ts',
      'dist/auth.js',
      'dist/cli.js',
      'dist/index.cjs',
      'dist/index.d.cts',
      'dist/index.d.ts',
      'dist/index.js',
      'package.json',
    ])
  })

  it('has every file that its pages link to', () => {
    const pages = tarball.files.filter((file) => file.endsWith('.md'))
    const broken = pages.flatMap((page) =>
      linksOf(page)
        .filter((link) => !tarball.files.some((file) => file === link || file.startsWith(`${link}/`)))
        .map((link) => `${page}: ${link}`),
    )

    expect(pages).toContain('docs/ERRORS.md')
    expect(broken).toEqual([])
  })

  it('serves import and require with the same names', async () => {
    const imported = await run(await install('esm', []), ['main.js'])
    const required = await run(await install('cjs', []), ['main.js'])

    expect(imported).toContain('ValkeyStore')
    expect(required).toBe(imported)
  })

  it('recognizes its errors across the copies that are imported and required', async () => {
    expect(await run(await install('copies', []), ['main.js'])).toBe('recognized')
  })

  it('runs in a minified bundle of one file, in which errors keep their names', async () => {
    const project = await install('bundle', ['express'])
    const options = ['--bundle', '--minify', '--platform=node', '--format=cjs', '--outfile=app.cjs']
    await run(project, [join(ROOT, 'node_modules/esbuild/bin/esbuild'), 'main.js', ...options])

    const { page, errors, elsewhere } = JSON.parse(await run(project, ['app.cjs']))

    const named = (name: string, code: string) => ({
      name,
      code,
      stack: name,
      isOurs: true,
      // Or the bundle would show nothing.
      className: expect.stringMatching(/^[\w$]{1,3}$/),
    })
    const expected = [
      named('SessionTooLargeError', 'ERR_SESSION_TOO_LARGE'),
      named('StoreUnavailableError', 'ERR_STORE_UNAVAILABLE'),
      named('InvalidGrantError', 'ERR_AUTH_GRANT'),
    ]
    expect(page).toEqual({ count: 2 })
    expect(errors).toEqual(expected)
    expect(elsewhere).toEqual(expected)
  })

  it.each(['ts-nodenext-esm', 'ts-nodenext-cjs', 'ts-bundler', 'ts-required-keys', 'ts-beside-bearer'])(
    'compiles strictly and runs in %s',
    async (name) => {
      const project = await install(name, DEPENDENCIES)

      await run(project, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.'])

      expect(await run(project, ['out/main.js'])).toBe('hello')
    },
    COMPILE_TIMEOUT_MS,
  )
})

// The aliases are those of package.json; the supported versions are those of README. The demo is a program of this
// repository, beside connect-redis on redis, whose types TypeScript 5.0 cannot parse.
describe.each([
  ['5.0', 'typescript50', ['examples/demo']],
  ['7', 'typescript7', []],
])('TypeScript %s', (version, compiler, exclude) => {
  const program = join(ROOT, 'node_modules', compiler, 'bin/tsc')

  it(
    `compiles the README, every example${exclude.length > 0 ? ' but the demo' : ''} and a switch over every error code`,
    async () => {
      const project = await installWithPages(compiler, exclude)

      expect(await run(project, [program, '-v'])).toContain(`Version ${version}.`)
      await run(project, [program, '-p', 'tsconfig.pages.json'])
    },
    COMPILE_TIMEOUT_MS,
  )
})

/** The consumer `ts-nodenext-esm` with the README's code and the examples of the packed package beside it. */
async function installWithPages(name: string, exclude: readonly string[]): Promise<string> {
  const project = join(folder, name)
  cpSync(join(import.meta.dirname, 'consumers/ts-nodenext-esm'), project, { recursive: true })
  await installPackage(project, tarball.path, Object.keys(manifest.devDependencies))
  const installed = join(project, 'node_modules/express-session-valkey')
  cpSync(join(installed, 'examples'), join(project, 'examples'), { recursive: true })
  mkdirSync(join(project, 'readme'))
  const fences = fencesOf('README.md', readFileSync(join(installed, 'README.md'), 'utf8'))
  if (fences.length === 0) throw new Error('README.md has no TypeScript')
  for (const { line, code } of fences) writeFileSync(join(project, `readme/line-${line}.ts`), code)
  const config = {
    extends: './tsconfig.json',
    compilerOptions: { noEmit: true, allowImportingTsExtensions: true },
    include: ['examples/**/*.ts', 'readme/*.ts'],
    exclude,
  }
  writeFileSync(join(project, 'tsconfig.pages.json'), JSON.stringify(config))
  return project
}
