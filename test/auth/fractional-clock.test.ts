import { expect, test } from 'vitest'
import { statelessSite } from './auth-site.ts'

test('a clock with fractions of a ms makes refresh tokens that are accepted', async () => {
  const clock = { now: () => Math.floor(Date.now()) + 0.25 }
  const site = await statelessSite({ secrets: ['a secret of at least 32 bytes, for tests'], clock })
  const { refresh_token: token } = await site.signIn('alice')
  expect(await site.refresh(token)).toMatchObject({ status: 200 })
})
