import { expect, it } from 'vitest'
import { checkPage, describeRoom } from './room.ts'

describeRoom('Signing in', ({ device }) => {
  it.each([true, false])(
    'takes one click, and so does signing out, with JavaScript: %s',
    async (javaScriptEnabled) => {
      const { page, open, signInAs, context } = await device({ javaScriptEnabled })
      await open('/sign-in')
      if (javaScriptEnabled) await checkPage(page, 'sign-in')

      await signInAs('Ada Lindqvist')
      expect(await context.cookies()).toMatchObject([
        { name: 'demo.sid', httpOnly: true, sameSite: 'Lax', path: '/1/' },
      ])

      await page.getByRole('button', { name: 'Sign out', exact: true }).click()
      await page.getByRole('banner').getByRole('link', { name: 'Sign in' }).waitFor()
      expect(await context.cookies()).toEqual([])
    },
  )
})
