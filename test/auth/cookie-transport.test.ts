import { describe, expect, test } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { PASSWORD, statefulSite, type TokenReply } from './auth-site.ts'

const form = { grant_type: 'password', username: 'alice', password: PASSWORD }

async function site() {
  const { send, auth } = await statefulSite({ store: new InProcessStore(), transport: 'cookie' })
  const post = (path: string, body: Record<string, string>, headers: Record<string, string> = {}) =>
    send<TokenReply>(path, {
      method: 'POST',
      body: new URLSearchParams(body),
      headers: { 'sec-fetch-site': 'same-origin', ...headers },
    })
  const cookieOf = (headers: Headers) => headers.get('set-cookie')?.split(';', 1)[0] ?? ''
  return { post, cookieOf, auth }
}

describe('A refresh token in a cookie', () => {
  test('is in no body, and no script, other host or other site has it', async () => {
    const { post } = await site()
    const { status, headers, body } = await post('/auth/token', form)

    expect(status).toBe(200)
    expect(body).not.toHaveProperty('refresh_token')
    expect(body.access_token).toBeTypeOf('string')
    expect(headers.get('set-cookie')).toMatch(
      /^__Host-refresh=[\w.-]+; Path=\/; Secure; HttpOnly; SameSite=Strict; Max-Age=2592000$/,
    )
  })

  test('refreshes, and only a sign-out removes it', async () => {
    const { post, cookieOf } = await site()
    const first = cookieOf((await post('/auth/token', form)).headers)
    const next = await post('/auth/token', { grant_type: 'refresh_token' }, { cookie: `a=b; ${first}` })
    const second = cookieOf(next.headers)
    expect([next.status, second === first]).toEqual([200, false])

    const failed = await post('/auth/token', { grant_type: 'refresh_token' }, { cookie: '__Host-refresh=x' })
    expect([failed.status, failed.headers.get('set-cookie')]).toEqual([400, null])
    const none = await post('/auth/token', { grant_type: 'refresh_token' })
    expect([none.status, none.headers.get('set-cookie')]).toEqual([400, null])

    const out = await post('/auth/logout', {}, { cookie: second })
    expect(out.status).toBe(204)
    expect(out.headers.get('set-cookie')).toMatch(/^__Host-refresh=; .*Max-Age=0$/)
    expect((await post('/auth/token', { grant_type: 'refresh_token' }, { cookie: second })).status).toBe(400)
  })

  test('is used for no other site, not even a sister domain, and not from the body', async () => {
    const { post, cookieOf, auth } = await site()
    const cookie = cookieOf((await post('/auth/token', form)).headers)
    const refresh = { grant_type: 'refresh_token' }

    for (const from of ['cross-site', 'same-site', 'none'])
      for (const [path, body] of [
        ['/auth/token', refresh],
        ['/auth/token', form],
        ['/auth/logout', {}],
        ['/auth/logout-all', {}],
      ] as const) {
        const { status } = await post(path, body, { cookie, 'sec-fetch-site': from })
        expect([from, path, status]).toEqual([from, path, 400])
      }
    const inBody = { ...refresh, refresh_token: cookie.split('=')[1] ?? '' }
    expect((await post('/auth/token', inBody)).status).toBe(400)
    expect(await auth.registry.count('alice')).toBe(1)
  })
})
