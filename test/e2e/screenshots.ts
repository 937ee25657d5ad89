import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { ROOMS } from '../../examples/demo/rooms.ts'

const DOCS = fileURLToPath(new URL('../../docs/images/', import.meta.url))
const CACHE = fileURLToPath(new URL('../../.cache/screenshots/', import.meta.url))

/** The rooms: what docs/ shows. Other pages are states of them. */
const SHOWN = ['home', 'sign-in', ...ROOMS.map(({ path }) => path)]

/**
 * Writes `NAME-light.png` and `NAME-dark.png`, of a room to `docs/images` and of any other page to `.cache/screenshots`, and there
 * also one as on a phone, if `SCREENSHOTS=1` asks for it: other runs of the tests leave the tree as it was.
 */
export async function takeScreenshots(page: Page, name: string): Promise<void> {
  if (process.env['SCREENSHOTS'] !== '1') return
  await mkdir(CACHE, { recursive: true })
  const folder = SHOWN.includes(name) ? DOCS : CACHE
  for (const colorScheme of ['light', 'dark'] as const)
    await take(page, `${folder}${name}-${colorScheme}.png`, {
      colorScheme,
      viewport: { width: 1200, height: 780 },
    })
  await take(page, `${CACHE}${name}-phone.png`, {
    colorScheme: 'light',
    viewport: { width: 360, height: 740 },
  })
}

interface Scene {
  readonly colorScheme: 'light' | 'dark'
  readonly viewport: { readonly width: number; readonly height: number }
}

async function take(page: Page, path: string, { colorScheme, viewport }: Scene): Promise<void> {
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
  await page.setViewportSize(viewport)
  await page.screenshot({ path, type: 'png' })
}
