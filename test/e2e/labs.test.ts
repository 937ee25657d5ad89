import type { Page } from 'playwright-core'
import { expect, it } from 'vitest'
import { checkPage, describeRoom } from './room.ts'

/** Presses the button, and waits until the lab says what came of it. */
async function run(page: Page, button: string): Promise<string> {
  await page.getByRole('button', { name: button }).click()
  const outcome = page.getByRole('main').getByRole('status').filter({ hasText: /\.$/ })
  return (await outcome.textContent({ timeout: 60_000 })) ?? ''
}

describeRoom('The labs', ({ backend, device }) => {
  const isOnValkey = backend === 'valkey'

  it('race: counts who comes back and what is lost, here and with another store, while it runs', async () => {
    const { page, open } = await device()
    await open('/race-lab')
    const counted = page.locator('[data-picture] .number')
    expect(await counted.allTextContents()).toEqual(['0', '0', '0', '0'])
    const half = page.locator('[data-picture] .tick-bad').nth(20).waitFor()

    const outcome = run(page, 'Start the race')
    await half
    expect(await page.getByRole('status').textContent()).toBe('Running…')

    expect(await outcome).toBe('Came back: 0 against 50. Kept: 64 against 1.')
    expect(await counted.allTextContents()).toEqual(['0', '50', '64', '1'])
    await page
      .getByText(isOnValkey ? 'connect-redis' : 'MemoryStore of express-session')
      .first()
      .waitFor()
    await checkPage(page, 'race-lab')
  })

  it('taint: draws a path through gates, which close once a customer was read', async () => {
    const { page, open } = await device()
    await open('/taint-lab')
    expect(await page.locator('.gate-closed').count()).toBe(0)

    expect(await run(page, 'Walk the path')).toBe('Labelled pii; refused: /export, /mail.')

    expect(await page.locator('.gate-closed').count()).toBe(2)
    expect(await page.getByText('403 refused').count()).toBe(2)
    await checkPage(page, 'taint-lab')
  })

  it('tokens: draws one successor for two tabs, and the death of the family', async () => {
    const { page, open } = await device()
    await open('/tokens')

    expect(await run(page, 'Refresh, steal, refresh')).toBe(
      '2 tabs at once: the same successor. The late copy ended the family: refresh-reused.',
    )

    expect(await page.getByText('400 invalid_grant').count()).toBe(2)
    await checkPage(page, 'tokens')
  })

  it('numbers: shows what was measured, or says how to measure', async () => {
    const { page, open } = await device()
    await open('/numbers')

    await page.locator('.chart img').or(page.getByText('npm run bench')).first().waitFor()
    await checkPage(page, 'numbers')
  })

  if (!isOnValkey) {
    it('race: shows the last result without JavaScript', async () => {
      const { page, open } = await device({ javaScriptEnabled: false })
      await open('/race-lab')

      expect(await run(page, 'Start the race')).toBe('Came back: 0 against 50. Kept: 64 against 1.')
    })

    it('leads on to the docs', async () => {
      const { page, open } = await device()
      await open('/race-lab')
      await page.getByRole('link', { name: 'Concurrent requests' }).click()

      await page.getByText('# Concurrent requests').waitFor()
    })

    it.each(['/outage-lab', '/stored-bytes'])('%s says what it needs', async (path) => {
      const { page, open } = await device()
      await open(path)

      await page.getByText('npm run demo -- --valkey').waitFor()
      expect(await page.locator('[data-lab]').count()).toBe(0)
      await checkPage(page, `${path.slice(1)}-in-process`)
    })
    return
  }

  it('stored: shows bytes that say nothing, and refuses a changed one', async () => {
    const { page, open } = await device()
    await open('/stored-bytes')

    expect(await run(page, 'Store a session, then change a bit')).toBe(
      'One bit changed: refused. JSON edited: signed in as admin.',
    )

    const sealed = page.locator('.card', {
      has: page.getByRole('heading', { name: 'express-session-valkey' }),
    })
    expect(await sealed.locator('.badge').allTextContents()).toEqual(['ann', 'nobody', 'ann'])
    expect(await sealed.locator('.dump').textContent()).not.toContain('blue pot')
    await page.getByText('the spare key is under the blue pot').waitFor()
    await checkPage(page, 'stored-bytes')
  })

  it('outage: shows quick 503s, and that the user is still signed in', async () => {
    const { page, open, signInAs } = await device()
    await open('/sign-in')
    await signInAs('Ada Lindqvist')
    await open('/outage-lab')

    const outcome = await run(page, 'Freeze it')
    expect(outcome).toContain('still signed in')
    expect(await page.locator('[data-picture] .tick-bad').count()).toBeGreaterThan(10)

    await page.reload()
    await page.getByRole('button', { name: 'Sign out', exact: true }).waitFor()
    await checkPage(page, 'outage-lab')
  })
})
