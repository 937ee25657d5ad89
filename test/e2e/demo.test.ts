import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { type RunningProgram, startProgram } from '../support/program.ts'
import { startValkey } from '../support/valkey.ts'

const SERVER = 'examples/demo/server.ts'

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

/** A page of a fresh profile, and what went wrong on it. */
async function openPage(
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<{ page: Page; problems: string[] }> {
  context = await browser.newContext(options)
  const page = await context.newPage()
  const problems: string[] = []
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('requestfailed', (request) => {
    // What a navigation interrupts has not failed.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') problems.push(`failed: ${request.url()}`)
  })
  page.on(
    'response',
    (response) => response.status() >= 400 && problems.push(`${response.status()} ${response.url()}`),
  )
  page.on('dialog', (dialog) => problems.push(`dialog: ${dialog.message()}`))
  return { page, problems }
}

async function signIn(page: Page, name: string): Promise<void> {
  await page.getByLabel('Name').fill(name)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: `Hello, ${name}` }).waitFor()
}

async function countOnce(page: Page, expected: number): Promise<void> {
  await page.getByRole('button', { name: 'Count one more' }).click()
  await page.getByRole('status').getByText(String(expected), { exact: true }).waitFor()
}

function heading(page: Page): Promise<string | null> {
  return page.getByRole('heading', { level: 1 }).textContent()
}

describe('the demo in process', () => {
  let demo: RunningProgram

  beforeAll(async () => {
    demo = await startProgram(SERVER)
  })

  afterAll(async () => {
    await demo.stop()
  })

  it.each([true, false])(
    'counts, keeps the count over a reload and signs out, with JavaScript: %s',
    async (javaScriptEnabled) => {
      const { page, problems } = await openPage({ javaScriptEnabled })
      await page.goto(demo.origin)
      expect(await heading(page)).toBe('Sign in')

      await signIn(page, 'Ann')
      await countOnce(page, 1)
      await countOnce(page, 2)
      await page.reload()
      expect(await page.getByRole('status').textContent()).toBe('2')

      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.getByLabel('Name').waitFor()
      expect(await page.context().cookies()).toEqual([])
      expect(problems).toEqual([])
    },
  )

  it('shows where somebody is signed in, and signs them out everywhere else', async () => {
    const { page, problems } = await openPage()
    await page.goto(demo.origin)
    await signIn(page, 'Dora')
    const elsewhere = await browser.newContext()
    const other = await elsewhere.newPage()
    try {
      await other.goto(demo.origin)
      await signIn(other, 'Dora')
      await page.reload()
      expect(await page.getByRole('listitem').count()).toBe(2)
      expect(await page.getByText('this device').count()).toBe(1)

      await page.getByRole('button', { name: 'Sign out everywhere else' }).click()
      await page.getByRole('button', { name: 'Sign out everywhere else' }).waitFor({ state: 'detached' })
      await other.reload()

      expect(await heading(other)).toBe('Sign in')
      expect(await heading(page)).toBe('Hello, Dora')
      expect(problems).toEqual([])
    } finally {
      await elsewhere.close()
    }
  })

  it('ends one device, and none of somebody else', async () => {
    const { page } = await openPage()
    await page.goto(demo.origin)
    await signIn(page, 'Emil')
    const elsewhere = await browser.newContext()
    const other = await elsewhere.newPage()
    try {
      await other.goto(demo.origin)
      await signIn(other, 'Emil')
      await page.reload()
      await page.getByRole('button', { name: /^End / }).click()
      await page.getByRole('button', { name: /^End / }).waitFor({ state: 'detached' })
      await other.reload()
      expect(await heading(other)).toBe('Sign in')

      await signIn(other, 'Frida')
      const handle = await other.locator('code').textContent()
      const foreign = await page.request.post(`${demo.origin}/devices/${handle}/end`, { maxRedirects: 0 })
      expect(foreign.status()).toBe(303)
      await other.reload()
      expect(await heading(other)).toBe('Hello, Frida')
    } finally {
      await elsewhere.close()
    }
  })

  it('keeps an old cookie out after the sign-out', async () => {
    const { page, problems } = await openPage()
    await page.goto(demo.origin)
    await signIn(page, 'Ann')
    const cookies = await page.context().cookies()
    expect(cookies).toMatchObject([{ name: 'demo.sid', httpOnly: true, sameSite: 'Lax', path: '/' }])

    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Name').waitFor()
    await page.context().addCookies(cookies)
    await page.goto(demo.origin)

    expect(await heading(page)).toBe('Sign in')
    expect(problems).toEqual([])
  })

  it('gives a signed-in session another id than the one before', async () => {
    const { page } = await openPage()
    await page.goto(demo.origin)
    await signIn(page, 'Ann')
    const [before] = await page.context().cookies()

    await page.request.post(`${demo.origin}/sign-in`, { form: { name: 'Eve' } })
    const [after] = await page.context().cookies()

    expect(after?.value).not.toBe(before?.value)
  })

  it('refuses a slow save that outlives the sign-out', async () => {
    const { page } = await openPage()
    await page.goto(demo.origin)
    await signIn(page, 'Ann')
    const cookies = await page.context().cookies()

    const sent = page.context().waitForEvent('request', (request) => request.url().endsWith('/count-slowly'))
    const answered = page
      .context()
      .waitForEvent('response', (response) => response.url().endsWith('/count-slowly'))
    const clicked = page.getByRole('button', { name: 'Count slowly' }).click()
    await sent
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Name').waitFor()
    await clicked

    expect((await answered).status()).toBe(401)

    await page.context().addCookies(cookies)
    await page.goto(demo.origin)
    expect(await heading(page)).toBe('Sign in')
  })

  it('shows a name as text, whatever is in it', async () => {
    const { page, problems } = await openPage()
    await page.goto(demo.origin)

    await signIn(page, `<img src=x onerror="alert(1)">'&`)

    expect(await page.locator('img').count()).toBe(0)
    expect(problems).toEqual([])
  })

  it('says what is wrong with a name', async () => {
    const { page } = await openPage()
    await page.goto(demo.origin)
    await page.locator('form').evaluate((form) => form.setAttribute('novalidate', ''))

    await page.getByRole('button', { name: 'Sign in' }).click()

    await page.getByRole('alert').getByText('Please enter a name.').waitFor()
    expect(await page.getByLabel('Name').getAttribute('aria-invalid')).toBe('true')
  })

  it('fits a narrow screen', async () => {
    const { page } = await openPage({ viewport: { width: 320, height: 640 } })
    await page.goto(demo.origin)
    await signIn(page, 'W'.repeat(40))

    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320)
  })

  it('refuses a form that another site sends', async () => {
    const { page } = await openPage()

    const answer = await page.request.post(`${demo.origin}/sign-in`, {
      form: { name: 'Ann' },
      headers: { 'Sec-Fetch-Site': 'same-site' },
    })

    expect(answer.status()).toBe(403)
    expect(answer.headers()['set-cookie']).toBeUndefined()
  })

  it('sends pages that may load nothing but its own style and icon', async () => {
    const { page } = await openPage()

    const answer = await page.request.get(demo.origin)

    expect(answer.headers()).toMatchObject({
      'content-security-policy': expect.stringContaining(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'",
      ),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
  })
})

describe.each(['SIGINT', 'SIGTERM'] as const)('the demo on %s', (signal) => {
  it('stops with exit code 0', async () => {
    const demo = noted(await startProgram(SERVER))

    expect(await demo.stop(signal)).toBe(0)
  })
})

describe('the demo on Valkey', () => {
  it('keeps the count over a restart, and answers 503 without signing out while Valkey is down', async () => {
    const valkey = noted(await startValkey())
    const env = { VALKEY_URL: valkey.url }
    const first = noted(await startProgram(SERVER, env))
    const { page } = await openPage()
    await page.goto(first.origin)
    await signIn(page, 'Ann')
    await countOnce(page, 1)
    expect(await first.stop()).toBe(0)

    const second = noted(await startProgram(SERVER, { ...env, PORT: new URL(first.origin).port }))
    await page.reload()
    expect(await page.getByRole('status').textContent()).toBe('1')

    await valkey.stop()
    const answer = await page.reload()
    expect(answer?.status()).toBe(503)
    expect(await answer?.headerValue('retry-after')).toBe('1')
    expect(await heading(page)).toBe('Back in a moment')
    expect(await page.context().cookies()).toHaveLength(1)
    expect(await second.stop()).toBe(0)
  })
})
