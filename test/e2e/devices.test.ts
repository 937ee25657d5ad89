import { expect, it } from 'vitest'
import { checkPage, describeRoom } from './room.ts'

describeRoom('My devices', ({ device, demo }) => {
  it('shows two devices, and tells the one that is ended at once, and why on its next page', async () => {
    const laptop = await device()
    const phone = await device()
    await laptop.open('/sign-in')
    await laptop.signInAs('Ada Lindqvist')
    await phone.open('/2/sign-in')
    await phone.signInAs('Ada Lindqvist')
    await laptop.page.getByText('Safari on iPhone').waitFor()
    const signedIn = laptop.page.getByRole('region', { name: /Signed in/ }).getByRole('listitem')
    expect(await signedIn.count()).toBe(2)
    expect(await signedIn.first().textContent()).toContain('This device')
    await checkPage(laptop.page, 'devices')

    await laptop.page.getByRole('button', { name: /^End Safari on iPhone/ }).click()

    const told = phone.page.getByRole('dialog', { name: 'This device was signed out' })
    await told.getByText('You ended this session from another device: ended from the device list.').waitFor()
    await checkPage(phone.page, 'ended')
    await told.getByRole('link', { name: 'Go to the sign-in page' }).click()
    await phone.page
      .getByRole('alert')
      .getByText('You ended this session from another device: ended from the device list.')
      .waitFor()
    await checkPage(phone.page, 'ended-next-page')
    await laptop.page.getByRole('region', { name: 'Ended' }).getByText('Safari on iPhone').waitFor()
  })

  it('ends all others and leaves this one', async () => {
    const here = await device()
    const there = await device({ javaScriptEnabled: false })
    await here.open('/sign-in')
    await here.signInAs('Kiosk')
    await there.open('/3/sign-in')
    await there.signInAs('Kiosk')
    await here.open('/devices')

    await here.page.getByRole('button', { name: 'Sign out everywhere else' }).click()
    await here.page.getByText('Only here.').waitFor()
    await there.open('/3/devices')

    expect(await there.page.getByRole('alert').textContent()).toContain('signed out everywhere else')
    expect(await demo().store.registry.count('kiosk')).toBe(1)
  })

  it('opens another device with one click, in a tab with a cookie of its own', async () => {
    const { context, page, open, signInAs } = await device()
    await open('/sign-in')
    await signInAs('Maximilian-Alexander von Hohenstein-Wolkenburg zu Oberammergau')
    const opened = context.waitForEvent('page')
    await page.getByRole('button', { name: 'Open as a phone' }).click()
    const phone = await opened
    await phone.getByRole('heading', { name: 'My devices' }).waitFor()

    expect(new URL(phone.url()).pathname).toBe('/2/devices')
    expect((await context.cookies()).map(({ path }) => path).sort()).toEqual(['/1/', '/2/'])
    await page.getByText('Safari on iPhone').waitFor()
    await checkPage(page, 'devices-long-name')
  })

  it('ends no device of somebody else', async () => {
    const ada = await device()
    await ada.open('/sign-in')
    await ada.signInAs('Ada Lindqvist')
    const olga = await device()
    await olga.open('/sign-in')
    await olga.signInAs('Olga Petrov')
    const [{ handle } = { handle: '' }] = await demo().store.registry.list('olga')

    const answer = await ada.page.request.post(`/1/devices/${handle}/end`, { maxRedirects: 0 })

    expect(answer.status()).toBe(303)
    expect(await demo().store.registry.has('olga', { handle })).toBe(true)
  })
})
