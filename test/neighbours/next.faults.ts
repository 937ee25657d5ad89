import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { beforeAll, expect, test } from 'vitest'
import { installed } from '../support/npm-install.ts'
import { browser } from './browser.ts'
import { appSecrets, ownValkey, prepare, start } from './neighbour.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SERVER = fileURLToPath(new URL('next-app.mjs', import.meta.url))
const NAME = join('neighbours', 'next')
const PACKAGES = ['next@16.4.6', 'react@19', 'react-dom@19', '@types/react@19', '@types/node@20']
const ENV = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' } as const

const PAGES = {
  'pages/pages-router.js': `
export const getServerSideProps = () => ({ props: { text: 'word '.repeat(2000) } })
export default function Page({ text }) { return <p>{text}</p> }`,
  'pages/api/data.js': `
export default function handler(req, res) { res.status(200).json({ text: 'word '.repeat(2000) }) }`,
  'pages/api/sign-in.js': `
export default function handler(req, res) { req.session.userId = 'ann'; res.redirect(303, '/user') }`,
  'pages/user.js': `
export const getServerSideProps = ({ req }) => ({ props: { user: req.session.userId ?? 'nobody' } })
export default function Page({ user }) { return <p>user: {user}</p> }`,
  'app/layout.js': `
export default function Layout({ children }) { return <html><body>{children}</body></html> }`,
  'app/app-router/page.js': `
import { headers } from 'next/headers'
export default async function Page() { await headers(); return <p>{'word '.repeat(2000)}</p> }`,
  'app/streamed/page.js': `
import { Suspense } from 'react'
import { headers } from 'next/headers'
async function Late() { await new Promise(setImmediate); return <p>{'word '.repeat(2000)}</p> }
export default async function Page() { await headers(); return <Suspense fallback="wait"><Late /></Suspense> }`,
}

let folder: string

/** Makes a production build of a small app beside Next.js. */
async function build(): Promise<void> {
  folder = await installed(NAME, PACKAGES)
  const built = join(folder, 'built.json')
  if (existsSync(built) && readFileSync(built, 'utf8') === JSON.stringify(PAGES)) return
  for (const [name, text] of Object.entries(PAGES)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  await run(process.execPath, [join(folder, 'node_modules/next/dist/bin/next'), 'build'], {
    cwd: folder,
    env: ENV,
  })
  writeFileSync(built, JSON.stringify(PAGES))
}

async function ask(port: number, path: string, encoding: string) {
  const sent = get({ host: '127.0.0.1', port, path, agent: false, headers: { 'Accept-Encoding': encoding } })
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  const coding = response.headers['content-encoding']
  return {
    coding,
    status: response.statusCode,
    isWhole: /(word ){2000}/.test((coding === 'gzip' ? gunzipSync(bytes) : bytes).toString()),
    hasCookie: response.headers['set-cookie'] !== undefined,
  }
}

beforeAll(build)

// Next.js compresses by itself, and wraps the response's methods to do so.
test.each([
  'session guard',
  'compression session guard',
  'session compression guard',
  'session guard compression',
])('pages of Next.js are whole, compressed and not, in the order %s', async (order) => {
  const server = fork(SERVER, [folder, ...order.split(' ')], { cwd: ROOT, env: ENV, silent: true })
  try {
    const [port] = (await once(server, 'message')) as [number]

    for (const path of ['/pages-router', '/api/data', '/app-router', '/streamed']) {
      const plain = { coding: undefined, status: 200, isWhole: true, hasCookie: true }
      expect([path, await ask(port, path, 'identity')]).toEqual([path, plain])
      expect([path, await ask(port, path, 'gzip')]).toEqual([path, { ...plain, coding: 'gzip' }])
    }
  } finally {
    server.kill()
  }
})

test('a page and an API route have the session, and change it before they answer, with the code of the guide', async () => {
  const valkey = await ownValkey()
  await prepare({ name: 'next', packages: PACKAGES, app: 'next.ts', heading: 'Next.js' })
  const env = {
    ...appSecrets(),
    VALKEY_URL: valkey.url,
    NEXT_TELEMETRY_DISABLED: '1',
    NODE_ENV: 'production',
  }
  const { origin } = await start(folder, env)
  const ann = browser(origin)
  expect((await ann('/user')).body).toContain('nobody')

  expect((await ann('/api/sign-in')).status).toBe(303)
  expect((await ann('/user')).body).toContain('ann')
  await valkey.stop()

  expect((await ann('/user')).status).toBe(503)
  const refused = await browser(origin)('/api/sign-in')
  expect([refused.status, refused.headers.get('location')]).toEqual([503, null])
})
