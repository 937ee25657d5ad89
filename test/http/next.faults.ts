import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { beforeAll, expect, test } from 'vitest'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SERVER = fileURLToPath(new URL('next-app.mjs', import.meta.url))
const FOLDER = join(ROOT, '.cache', 'next')
const ENV = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' } as const

const PAGES = {
  'pages/pages-router.js': `
export const getServerSideProps = () => ({ props: { text: 'word '.repeat(2000) } })
export default function Page({ text }) { return <p>{text}</p> }`,
  'pages/api/data.js': `
export default function handler(req, res) { res.status(200).json({ text: 'word '.repeat(2000) }) }`,
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

/** Installs Next.js in the project's cache, and makes a production build of a small app there. */
async function build(): Promise<void> {
  if (existsSync(join(FOLDER, '.next', 'BUILD_ID'))) return
  for (const [name, text] of Object.entries({ ...PAGES, 'package.json': '{"private":true}' })) {
    mkdirSync(join(FOLDER, name, '..'), { recursive: true })
    writeFileSync(join(FOLDER, name), text)
  }
  const packages = ['next@16.4.6', 'react@19', 'react-dom@19']
  await run('npm', [
    'install',
    '--prefix',
    FOLDER,
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    ...packages,
  ])
  await run(process.execPath, [join(FOLDER, 'node_modules/next/dist/bin/next'), 'build'], {
    cwd: FOLDER,
    env: ENV,
  })
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
  const server = fork(SERVER, [FOLDER, ...order.split(' ')], { cwd: ROOT, env: ENV, silent: true })
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
