import { expect, it } from 'vitest'
import { checkPage, describeRoom } from './room.ts'

describeRoom('Admin', ({ device, demo }) => {
  it('is closed to others, whom it offers to open it as the administrator', async () => {
    const { context, page, open } = await device({ expects: ['403'] })
    await open('/admin')
    await checkPage(page, 'admin-closed')
    const opened = context.waitForEvent('page')
    await page.getByRole('button', { name: 'Open as the administrator' }).click()
    const desk = await opened

    await desk.getByRole('heading', { name: 'Users' }).waitFor()
    await desk.getByText('No session has been ended yet.').waitFor()
    await desk.getByLabel('Search users').fill('nobody')
    await desk.getByRole('button', { name: 'Search' }).click()
    await desk.getByText('Nobody is called “nobody”.').waitFor()
    await checkPage(desk, 'admin-empty')
  })

  it('ends all sessions and tokens of a user with a reason, which each device is told', async () => {
    const ada = await device()
    await ada.open('/sign-in')
    await ada.signInAs('Ada Lindqvist')
    await demo().store.registry.list('ada')
    const token = await ada.page.request.post('/auth/token', {
      form: { grant_type: 'password', username: 'ada', password: 'analytical-engine' },
    })
    expect(token.status()).toBe(200)
    const admin = await device()
    await admin.open('/4/sign-in')
    await admin.signInAs('Olga Petrov')
    await admin.open('/4/admin/users/ada')
    await checkPage(admin.page, 'admin-user')

    await admin.page.getByLabel('Reason').selectOption('lost-device')
    await admin.page.getByRole('button', { name: 'End all sessions and tokens' }).click()
    await admin.page.getByText('Ended 2 sessions.').waitFor()

    await ada.page
      .getByRole('dialog')
      .getByText('Olga Petrov ended this session: the device is lost or stolen.')
      .waitFor()
    await admin.open('/4/admin')
    const log = admin.page.getByRole('region', { name: 'Endings' })
    expect(await log.getByRole('row', { name: /the device is lost or stolen Olga Petrov$/ }).count()).toBe(2)
    await checkPage(admin.page, 'admin')
  })

  it('lists 200 devices page by page', async () => {
    const { page, open, signInAs } = await device()
    await open('/sign-in')
    await signInAs('Olga Petrov')
    await open('/admin/users/kiosk')
    await page.getByText('Kiosk is signed in nowhere.').waitFor()
    await page.getByRole('button', { name: 'Add 200 devices' }).click()
    await page.getByRole('link', { name: 'Page 8' }).waitFor()

    expect(await page.locator('.device').count()).toBe(25)
    expect(await page.getByText('Chrome on ChromeOS').count()).toBe(5)
    await page.getByRole('link', { name: 'Page 8' }).click()
    await page.locator('a[aria-current=page]', { hasText: '8' }).waitFor()
    await checkPage(page, 'admin-many')
  })
})
