import axe from 'axe-core'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { startLocalValkey } from '../../examples/demo/local-valkey.ts'
import { type RunningDemo, startDemo } from '../../examples/demo/start.ts'
import { launchChromium } from '../support/chromium.ts'
import { serverBinary } from '../support/valkey-binary.ts'
import { takeScreenshots } from './screenshots.ts'

// Without JavaScript a click waits for the whole response.
const TIMEOUT_MS = 40_000

export type Backend = 'in-process' | 'valkey'

/** What the tests of a room have: the demo on one of its backends, and devices with a browser. */
export interface RoomTest {
  readonly backend: Backend
  demo(): RunningDemo['demo']
  /** A device of its own: cookies, a page, and what went wrong on it, which must be nothing when the test ends. */
  device(options?: DeviceOptions): Promise<Device>
}

export interface DeviceOptions {
  readonly javaScriptEnabled?: boolean
  readonly colorScheme?: 'light' | 'dark'
  readonly viewport?: { readonly width: number; readonly height: number }
  /** Problems that the test means to cause: every problem with this text in it is let pass. */
  readonly expects?: readonly string[]
}

export interface Device {
  readonly context: BrowserContext
  readonly page: Page
  /** Opens a path of the demo, such as `/race-lab`. */
  open(path: string): Promise<void>
  /** Signs in as one of the demo's users, with the button beside the name, and waits for the next page. */
  signInAs(name: string | RegExp): Promise<void>
}

/** Runs the tests of a room on both backends: `describeRoom('Race lab', (room) => { it(…) })`. */
export function describeRoom(title: string, tests: (room: RoomTest) => void): void {
  let browser: Browser

  // The first time on a machine without a browser, it is fetched.
  beforeAll(async () => {
    browser = await launchChromium()
  }, 600_000)

  afterAll(async () => {
    await browser?.close()
  })

  describe.each<Backend>(['in-process', 'valkey'])(`${title}, %s`, (backend) => {
    let running: RunningDemo
    let devices: { context: BrowserContext; problems: string[] }[] = []

    beforeAll(async () => {
      const valkey = backend === 'valkey' ? await startLocalValkey(await serverBinary()) : undefined
      running = await startDemo({ port: 0, valkey })
    })

    afterEach(async () => {
      const problems = devices.flatMap((device) => device.problems)
      await Promise.all(devices.map(({ context }) => context.close()))
      devices = []
      expect(problems).toEqual([])
    })

    afterAll(async () => {
      await running?.stop()
    })

    tests({
      backend,
      demo: () => running.demo,
      device: async (options = {}) => {
        const { expects = [], ...contextOptions } = options
        const context = await browser.newContext({ baseURL: running.demo.origin, ...contextOptions })
        context.setDefaultTimeout(TIMEOUT_MS)
        const problems: string[] = []
        const note = (problem: string) => {
          if (!expects.some((text) => problem.includes(text))) problems.push(problem)
        }
        devices.push({ context, problems })
        const page = await context.newPage()
        // Other pages of the context are those that a link opened.
        for (const one of context.pages()) noteProblems(one, note)
        context.on('page', (one) => noteProblems(one, note))
        return {
          context,
          page,
          open: async (path) => void (await page.goto(path)),
          signInAs: (name) => signInAs(page, name),
        }
      },
    })
  })
}

// A violation of the Content-Security-Policy is a console error too.
function noteProblems(page: Page, note: (problem: string) => void): void {
  page.on('console', (message) => message.type() === 'error' && note(`console: ${message.text()}`))
  page.on('pageerror', (error) => note(`script: ${error.message}`))
  page.on('dialog', (dialog) => note(`dialog: ${dialog.message()}`))
  page.on('requestfailed', (request) => {
    // What a navigation interrupts has not failed.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') note(`failed: ${request.url()}`)
  })
}

async function signInAs(page: Page, name: string | RegExp): Promise<void> {
  if (!new URL(page.url()).pathname.endsWith('/sign-in')) await page.goto('/sign-in')
  await page.getByRole('button', { name: typeof name === 'string' ? `Sign in as ${name}` : name }).click()
  await page.getByRole('button', { name: 'Sign out', exact: true }).waitFor()
}

// A page is the same on both backends: what takes long is looked at once.
const checked = new Set<string>()

/**
 * Checks what every page of the demo promises: axe finds nothing, in the light and in the dark, and nothing is wider than
 * a phone of 360 px. Takes the page's screenshots under this name too, where they are asked for.
 */
export async function checkPage(page: Page, name: string): Promise<void> {
  const viewport = page.viewportSize()
  if (!checked.has(name)) {
    checked.add(name)
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      expect(await axeFindings(page, colorScheme), `axe, ${colorScheme}`).toEqual([])
    }
    await takeScreenshots(page, name)
  }
  await page.setViewportSize({ width: 360, height: 740 })
  expect(await page.evaluate('document.documentElement.scrollWidth'), 'width at 360 px').toBe(360)
  await page.emulateMedia({ colorScheme: 'light' })
  if (viewport) await page.setViewportSize(viewport)
}

async function axeFindings(page: Page, colorScheme: 'light' | 'dark'): Promise<string[]> {
  // Evaluated by the debugger, which the Content-Security-Policy of the page does not bind.
  if (colorScheme === 'light') await page.evaluate(axe.source)
  // In the dark only the colours are others.
  const rules = colorScheme === 'light' ? '' : ", runOnly: ['color-contrast']"
  const found = (await page.evaluate(`axe.run({ resultTypes: ['violations']${rules} })`)) as axe.AxeResults
  return found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}
