import { expect, test } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { authenticate, statefulSite } from './auth-site.ts'

test('two refreshes at once sign nobody out where the upstream renews only once', async () => {
  const both = deferred()
  const first = deferred()
  let calls = 0
  const site = await statefulSite({
    store: new InProcessStore(),
    authenticate: Object.assign(
      async (credentials: Parameters<typeof authenticate>[0]) => {
        const found = await authenticate(credentials)
        return found && { ...found, upstream: 'u0' }
      },
      {
        async refresh() {
          calls += 1
          if (calls === 1) {
            await both.promise
            return { user: { id: 'alice' }, upstream: 'u1' }
          }
          both.resolve()
          await first.promise
          return undefined
        },
      },
    ),
  })
  const { refresh_token: token } = await site.signIn('alice')
  const one = site.refresh(token)
  const other = site.refresh(token)
  const quicker = await Promise.race([one, other])
  first.resolve()
  const replies = await Promise.all([one, other])
  expect(quicker.status).toBe(200)
  expect(replies.map(({ status }) => status)).toEqual([200, 200])
  expect(calls).toBe(2)
  expect(replies[0].body.refresh_token).toBe(replies[1].body.refresh_token)
  // Refused alone, it is the end.
  expect(await site.refresh(replies[0].body.refresh_token)).toMatchObject({ status: 400 })
  expect(await site.auth.registry.count('alice')).toBe(0)
})

function deferred() {
  let resolve = (): void => undefined
  const promise = new Promise<void>((fulfil) => {
    resolve = fulfil
  })
  return { promise, resolve }
}
