import { expect, it } from 'vitest'
import { checkPage, describeRoom } from './room.ts'

describeRoom('The start page', ({ device }) => {
  it('says what the package does, and leads to six rooms', async () => {
    const { page, open } = await device()
    await open('/')

    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe(
      'A session store whose sign-out stays signed out.',
    )
    expect(await page.getByRole('main').getByRole('listitem').count()).toBe(6)
    await checkPage(page, 'home')
  })

  it('can be used from the keyboard: the first stop skips the navigation, a tile opens its room', async () => {
    const { page, open } = await device()
    await open('/')

    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    expect(await page.evaluate('document.activeElement.id')).toBe('main')
    expect(new URL(page.url()).pathname).toBe('/1/')
    await page.getByRole('link', { name: 'Race lab' }).last().focus()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Race lab', level: 1 }).waitFor()
  })
})
