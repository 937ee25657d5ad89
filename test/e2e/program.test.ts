import { createConnection } from 'node:net'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningProgram, startProgram } from '../support/program.ts'
import { until } from '../support/until.ts'
import { startValkey } from '../support/valkey.ts'
import { checkPage } from './room.ts'

const SERVER = 'examples/demo/server.ts'
const ADA = { username: 'ada', password: 'analytical-engine' }

let browser: Browser
let context: BrowserContext | undefined
let started: { stop(): Promise<unknown> }[] = []

// The first time on a machine without a browser, it is fetched.
beforeAll(async () => {
  browser = await launchChromium()
}, 600_000)

afterEach(async () => {
  await context?.close()
  context = undefined
  const stopping = started.map((part) => part.stop())
  started = []
  await Promise.all(stopping)
})

afterAll(async () => {
  await browser?.close()
})

/** Notes what the test starts, so that it is stopped however the test ends. */
function noted<Part extends { stop(): Promise<unknown> }>(part: Part): Part {
  started.push(part)
  return part
}

async function start(
  env: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
): Promise<RunningProgram> {
  return noted(await startProgram(SERVER, env, args))
}

async function signedInPage(origin: string): Promise<Page> {
  context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(`${origin}/sign-in`)
  await page.getByRole('button', { name: 'Sign in as Ada Lindqvist' }).click()
  await page.getByRole('heading', { name: 'My devices' }).waitFor()
  return page
}

function heading(page: Page): Promise<string | null> {
  return page.getByRole('heading', { level: 1 }).textContent()
}

describe('npm run demo', () => {
  it('names its address, and where sessions are kept, and ends with Ctrl+C', async () => {
    const demo = await start()

    expect(demo.output()).toMatch(/Open +http:\/\/127\.0\.0\.1:\d+\n +Sessions +are kept in this process/)
    const began = performance.now()
    const page = await fetch(demo.origin)
    expect(page.status).toBe(200)
    expect(await page.text()).toContain('A session store whose sign-out stays signed out.')
    expect(performance.now() - began).toBeLessThan(10_000)
    expect(await demo.stop('SIGINT')).toBe(0)
  })

  it('responds to a request that comes before it is ready', async () => {
    const port = String(await freePort())
    const asked = until(() => fetch(`http://127.0.0.1:${port}/`).catch(() => undefined), {
      what: 'a response',
      everyMs: 1,
    })
    await start({ PORT: port })

    expect((await asked).status).toBe(200)
  })

  it('sends pages that may load nothing but its own, and refuses a form that another site sends', async () => {
    const demo = await start()
    const page = await fetch(demo.origin)
    const body = new URLSearchParams(ADA)
    const foreign = await fetch(`${demo.origin}/1/sign-in`, {
      method: 'POST',
      body,
      headers: { 'sec-fetch-site': 'same-site' },
    })

    expect(page.headers.get('content-security-policy')).toContain(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'",
    )
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(await page.text()).not.toMatch(/<style|style=|<script(?![^>]* src=)|\bon\w+=/)
    expect(foreign.status).toBe(403)
    expect(foreign.headers.get('set-cookie')).toBeNull()
  })

  it('gives a signed-in session another id than the one before, and refuses a wrong password', async () => {
    const demo = await start()
    const signIn = (fields: Record<string, string>, cookie = '') =>
      fetch(`${demo.origin}/1/sign-in`, {
        method: 'POST',
        body: new URLSearchParams(fields),
        headers: { cookie },
        redirect: 'manual',
      })
    const first = (await signIn(ADA)).headers.get('set-cookie')?.split(';')[0] ?? ''
    const second = (await signIn(ADA, first)).headers.get('set-cookie')?.split(';')[0]
    const wrong = await signIn({ ...ADA, password: '"><b>' })

    expect(first).toMatch(/^demo\.sid=s/)
    expect(second).not.toBe(first)
    expect(wrong.status).toBe(401)
    expect(await wrong.text()).not.toContain('<b>')
  })
})

describe('npm run demo -- --valkey', () => {
  it.each(['SIGINT', 'SIGKILL'] as const)('leaves no server behind on %s', async (signal) => {
    const demo = await start({}, ['--valkey'])
    const url = /VALKEY_URL=(\S+)/.exec(demo.output())?.[1] ?? ''
    expect(await listens(url)).toBe(true)

    expect(await demo.stop(signal)).toBe(signal === 'SIGINT' ? 0 : null)

    await until(async () => !(await listens(url)), { what: 'the server is gone' })
  })
})

describe('The demo with VALKEY_URL', () => {
  it('shares sessions between two instances, and tells a device on the one of an ending on the other', async () => {
    const valkey = noted(await startValkey())
    const [first, second] = await Promise.all([
      start({ VALKEY_URL: valkey.url }),
      start({ VALKEY_URL: valkey.url }),
    ])
    const page = await signedInPage(first.origin)
    const other = await page.context().newPage()
    await other.goto(`${second.origin}/devices`)
    expect(await heading(other)).toBe('My devices')
    await other.goto(`${second.origin}/2/sign-in`)
    await other.getByRole('button', { name: 'Sign in as Ada Lindqvist' }).click()
    await other.getByRole('button', { name: 'Sign out everywhere else' }).click()

    await page
      .getByRole('dialog')
      .getByText('You ended this session from another device: signed out everywhere else.')
      .waitFor()
    expect(await Promise.all([first.stop(), second.stop()])).toEqual([0, 0])
  })

  it('keeps somebody signed in over a restart, and through an outage, with a page to try again', async () => {
    const valkey = noted(await startValkey({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] }))
    const env = { VALKEY_URL: valkey.url }
    const first = await start(env)
    const page = await signedInPage(first.origin)
    expect(await first.stop()).toBe(0)

    const second = await start({ ...env, PORT: new URL(first.origin).port })
    await page.reload()
    expect(await heading(page)).toBe('My devices')

    await valkey.kill()
    const answer = await page.reload()
    expect(answer?.status()).toBe(503)
    expect(await answer?.headerValue('retry-after')).toBe('1')
    expect(await heading(page)).toBe('Back in a moment')
    expect(await page.getByRole('banner').getByText('Sign in').count()).toBe(0)
    await checkPage(page, 'outage')

    await valkey.restart()
    await until(
      async () => {
        await page.getByRole('link', { name: 'Try again' }).click()
        return (await heading(page)) === 'My devices'
      },
      { what: 'the page comes back' },
    )
    expect(await second.stop()).toBe(0)
  })
})

function listens(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = createConnection({ host: hostname, port: Number(port) }, () => socket.destroy())
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(true))
  })
}
