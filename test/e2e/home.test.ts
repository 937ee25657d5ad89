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
})
