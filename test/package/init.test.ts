import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonOf, runCli } from '../cli/cli.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'
import { ValkeyServer } from '../support/valkey-server.ts'
import { type LocalRegistry, startLocalRegistry } from './local-registry.ts'
import { packPackage } from './package-tarball.ts'

const INSTALL_TIMEOUT_MS = 240_000
const FILES = ['.env', '.gitignore', 'compose.yaml', 'package.json', 'server.js']

let folder: string
let registry: LocalRegistry
let valkey: ValkeyServer

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'init-'))
  registry = await startLocalRegistry((await packPackage(folder)).path)
  valkey = await ValkeyServer.start()
})
afterAll(async () => {
  await Promise.all([registry?.stop(), valkey?.stop()])
  rmSync(folder, { recursive: true, force: true })
})

/** The environment of a user who has installed nothing, and whose npm knows only the registry of this test. */
function bareEnv(): Record<string, string | undefined> {
  return {
    PATH: process.env['PATH'],
    HOME: folder,
    npm_config_registry: registry.url,
    npm_config_cache: join(folder, 'cache'),
    npm_config_update_notifier: 'false',
  }
}

/** Runs `npm start` in the app until it listens, and the visit beside it. */
async function whileStarted<T>(app: string, env: object, visit: (origin: string) => Promise<T>): Promise<T> {
  const port = await freePort()
  // A group of its own: npm starts the app through a shell.
  const child = spawn('npm', ['start'], {
    cwd: app,
    env: { ...bareEnv(), ...env, PORT: String(port) },
    detached: true,
  })
  const exited = once(child, 'close')
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  const origin = `http://127.0.0.1:${port}`
  try {
    await until(() => output.includes(origin) || child.exitCode !== null, { withinMs: INSTALL_TIMEOUT_MS })
    expect(output).toContain(`Listening on ${origin}`)
    return await visit(origin)
  } finally {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM')
    await exited
  }
}

async function signIn(origin: string): Promise<string> {
  const body = new URLSearchParams({ user: '<ann>' })
  const res = await fetch(`${origin}/sign-in`, { method: 'POST', body, redirect: 'manual' })
  expect(res.status).toBe(303)
  return res.headers.get('set-cookie')?.split(';', 1)[0] ?? ''
}

async function pageOf(origin: string, cookie = ''): Promise<string> {
  const res = await fetch(origin, { headers: { cookie } })
  expect(res.status).toBe(200)
  return res.text()
}

describe('init', () => {
  it(
    'and "cd app" and "npm start" reach a page that answers, from the packed tarball',
    async () => {
      const run = promisify(execFile)
      await run('npx', ['--yes', 'express-session-valkey', 'init', 'app'], { cwd: folder, env: bareEnv() })
      const app = join(folder, 'app')

      await whileStarted(app, {}, async (origin) => {
        expect(await pageOf(origin)).toContain('Sign in')
        const [phone, laptop] = [await signIn(origin), await signIn(origin)]
        expect(await pageOf(origin, phone)).toContain(
          'Signed in as &#60;ann&#62;. You have been here 1 times.',
        )
        await fetch(`${origin}/sign-out-everywhere`, { method: 'POST', headers: { cookie: phone } })
        expect(await pageOf(origin, laptop)).toContain('<button>Sign in</button>')
      })

      const cookie = await whileStarted(app, { VALKEY_URL: valkey.url }, signIn)
      await whileStarted(app, { VALKEY_URL: valkey.url }, async (origin) => {
        expect(await pageOf(origin, cookie)).toContain('You have been here 1 times.')
        await fetch(`${origin}/sign-out`, { method: 'POST', headers: { cookie } })
        expect(await pageOf(origin, cookie)).toContain('<button>Sign in</button>')
      })
      const doctor = run('npm', ['run', 'doctor'], {
        cwd: app,
        env: { ...bareEnv(), VALKEY_URL: valkey.url },
      })
      expect((await doctor).stdout).toContain('append-only-off')
    },
    2 * INSTALL_TIMEOUT_MS,
  )

  it('writes the files, prints the next steps, and makes secrets of its own for each app', async () => {
    const [one, other] = [join(folder, 'deep/one'), join(folder, 'other')]
    mkdirSync(other)
    const ran = await runCli(['init', one])
    const json = await jsonOf<{ folder: string; files: string[] }>(['init', other])
    const [env, otherEnv] = [one, other].map((app) => readFileSync(join(app, '.env'), 'utf8'))
    const secrets = `${env}${otherEnv}`.match(/[0-9a-f]{64}/g) ?? []

    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(ran.stdout).toMatch(new RegExp(`cd ${one}\n *npm start`))
    expect(secrets.filter((secret) => ran.stdout.includes(secret))).toEqual([])
    expect(new Set(secrets).size).toBe(4)
    expect(json.files.sort()).toEqual(FILES)
    expect(readdirSync(one).sort()).toEqual(FILES)
    expect(statSync(join(one, '.env')).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(one, '.gitignore'), 'utf8').split('\n')).toContain('.env')
  })

  it('exits with 2 and writes nothing where something is already, or without a folder', async () => {
    const full = join(folder, 'full')
    mkdirSync(full)
    writeFileSync(join(full, 'server.js'), 'mine')

    expect(await runCli(['init', full])).toMatchObject({ code: 2, stdout: '' })
    expect(readdirSync(full)).toEqual(['server.js'])
    expect(readFileSync(join(full, 'server.js'), 'utf8')).toBe('mine')
    expect(await runCli(['init', join(full, 'server.js')])).toMatchObject({ code: 2 })
    expect(await runCli(['init'])).toMatchObject({ code: 2 })
  })
})
