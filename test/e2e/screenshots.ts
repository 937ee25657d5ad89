import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'

const FOLDER = fileURLToPath(new URL('../../docs/images/', import.meta.url))

/**
 * Writes `docs/images/NAME-light.jpg`, `NAME-dark.jpg` and `NAME-phone.jpg`, if `SCREENSHOTS=1` asks for it: other runs of the
 * tests leave the tree as it was.
 */
export async function takeScreenshots(page: Page, name: string): Promise<void> {
  if (process.env['SCREENSHOTS'] !== '1') return
  await mkdir(FOLDER, { recursive: true })
  for (const colorScheme of ['light', 'dark'] as const)
    await take(page, `${name}-${colorScheme}`, { colorScheme, viewport: { width: 1200, height: 780 } })
  await take(page, `${name}-phone`, { colorScheme: 'light', viewport: { width: 360, height: 740 } })
}

interface Scene {
  readonly colorScheme: 'light' | 'dark'
  readonly viewport: { readonly width: number; readonly height: number }
}

async function take(page: Page, name: string, { colorScheme, viewport }: Scene): Promise<void> {
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
  await page.setViewportSize(viewport)
  await page.screenshot({ path: `${FOLDER}${name}.jpg`, type: 'jpeg', quality: 72, fullPage: false })
}
