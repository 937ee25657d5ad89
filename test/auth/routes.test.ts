import { createRequire } from 'node:module'
import express from 'express'
import { describe, expect, test } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { authenticate, bearer, PASSWORD, statefulSite, statelessSite, type TokenReply } from './auth-site.ts'

const express4: typeof express = createRequire(import.meta.url)('express4')
const SECRET = 'a secret of the tests, never used outside of them'

const json = (body: unknown): RequestInit => ({
  method: 'POST',
  body: typeof body === 'string' ? body : JSON.stringify(body),
  headers: { 'content-type': 'application/json' },
})

interface Failure {
  readonly error: string
  readonly error_description: string
  readonly error_code: string
}

const site = () => statefulSite({ store: new InProcessStore() })

describe.each([
  { name: 'Express 5', make: express, parsers: false },
  { name: 'Express 5 behind body parsers', make: express, parsers: true },
  { name: 'Express 4', make: express4, parsers: false },
  { name: 'Express 4 behind body parsers', make: express4, parsers: true },
])('In $name', ({ make, parsers }) => {
  test('a form and JSON sign in alike, grant_type in the body or in the query', async () => {
    const { send, post } = await statefulSite({ store: new InProcessStore(), make, parsers })
    const credentials = { email: 'alice', password: PASSWORD }

    const replies = [
      await post('/auth/token', { grant_type: 'password', ...credentials }),
      await post('/auth/token?grant_type=password', credentials),
      await send<TokenReply>('/auth/token', json({ grant_type: 'password', ...credentials })),
      await send<TokenReply>(
        '/auth/token?grant_type=password',
        json({ ...credentials, gotrue_meta_security: {} }),
      ),
    ]

    for (const { status, headers, body } of replies) {
      expect(status).toBe(200)
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('pragma')).toBe('no-cache')
      expect(body).toMatchObject({
        token_type: 'bearer',
        expires_in: 300,
        user: { id: 'alice', role: 'member' },
      })
      expect(body.expires_at).toBeGreaterThan(Date.now() / 1000 + 290)
      expect(body.refresh_token).toMatch(/^[\w-]{11}\.[\w-]{32}\.0\.[\w-]{43}$/)
    }
  })

  test('a sign-out has no body, with a content type all the same', async () => {
    const { send, signIn, refresh } = await statefulSite({ store: new InProcessStore(), make, parsers })
    const { access_token: token, refresh_token: refreshToken } = await signIn('alice')

    const { status } = await send('/auth/logout?scope=global', {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    })

    expect(status).toBe(204)
    expect((await refresh(refreshToken)).status).toBe(400)
  })
})

describe('A token request is refused', () => {
  const form = { username: 'alice', password: PASSWORD, grant_type: 'password' }

  test.each([
    ['no grant', '/auth/token', { username: 'alice' }, 'invalid_request'],
    ['an unknown grant', '/auth/token', { ...form, grant_type: 'magic' }, 'unsupported_grant_type'],
    ['two grants', '/auth/token?grant_type=refresh_token', form, 'invalid_request'],
    ['a password in the URL', `/auth/token?password=${PASSWORD}`, form, 'invalid_request'],
    ['two names', '/auth/token', { ...form, email: 'bob' }, 'invalid_request'],
    ['no name', '/auth/token', { ...form, username: '' }, 'invalid_request'],
    ['no password', '/auth/token', { ...form, password: '' }, 'invalid_request'],
    ['an unknown client', '/auth/token', { ...form, client_id: 'evil' }, 'invalid_client'],
    ['too large a body', '/auth/token', { ...form, password: 'x'.repeat(9000) }, 'invalid_request'],
  ])('with 400 for %s', async (_name, path, body, error) => {
    const { post } = await site()
    const reply = await post<Failure>(path, body)

    expect([reply.status, reply.body.error]).toEqual([400, error])
    expect(Object.keys(reply.body).sort()).toEqual(['error', 'error_code', 'error_description'])
  })

  test('with 400 for what is no text, no JSON, or there twice', async () => {
    const { send } = await site()
    const requests = [
      json({ ...form, password: { length: 1 } }),
      json({ ...form, username: ['alice'] }),
      json('{"grant_type":'),
      json('[]'),
      { method: 'POST', body: new URLSearchParams([...Object.entries(form), ['username', 'bob']]) },
      { method: 'POST', body: 'grant_type=password', headers: { 'content-type': 'text/plain' } },
    ]

    for (const request of requests) {
      const { status, body } = await send<Failure>('/auth/token', request)
      expect([status, body.error]).toEqual([400, 'invalid_request'])
    }
  })

  test('with 401 and a challenge for an unknown client by Basic alone', async () => {
    const { send } = await site()
    const authorization = `Basic ${Buffer.from('evil:secret').toString('base64')}`

    const reply = await send<Failure>('/auth/token', {
      ...json(form),
      headers: { authorization, 'content-type': 'application/json' },
    })

    expect([reply.status, reply.body.error, reply.headers.get('www-authenticate')]).toEqual([
      401,
      'invalid_client',
      'Basic',
    ])
  })

  test('with one body for a wrong password and an unknown user', async () => {
    const { post } = await site()
    const { status, body } = await post<Failure>('/auth/token', { ...form, password: 'wrong' })

    expect([status, body.error, body.error_code]).toEqual([400, 'invalid_grant', 'invalid_credentials'])
  })

  test('with the word of what more is needed', async () => {
    const { post } = await statefulSite({
      store: new InProcessStore(),
      authenticate: async () => ({ needs: 'insufficient_aal', description: 'A "second" factor' }),
    })
    const { status, body } = await post<Failure>('/auth/token', form)

    expect([status, body]).toEqual([
      400,
      { error: 'invalid_grant', error_description: "A 'second' factor", error_code: 'insufficient_aal' },
    ])
  })

  test('with 503 and Retry-After when the app cannot find out, and the app is told why', async () => {
    const failures: unknown[] = []
    const cause = new Error('the database is away')
    const { post } = await statefulSite({
      store: new InProcessStore(),
      authenticate: async () => Promise.reject(cause),
      onError: (error) => failures.push(error),
    })
    const { status, headers, body } = await post<Failure>('/auth/token', form)

    expect([status, body.error, headers.get('retry-after')]).toEqual([503, 'temporarily_unavailable', '1'])
    expect(failures).toEqual([expect.objectContaining({ status: 503, cause })])
  })
})

describe('A client', () => {
  test('that is configured gets its name into the token, and must keep it', async () => {
    const { post, send } = await statefulSite({
      store: new InProcessStore(),
      clients: ['first-party', 'phone'],
    })
    const form = {
      grant_type: 'password',
      username: 'alice',
      password: PASSWORD,
      client_id: 'phone',
      client_secret: 'x',
    }
    const { body } = await post('/auth/token', form)
    const orders = await send<{ clientId: string }>('/orders', bearer(body.access_token))
    const others = await post('/auth/token', {
      grant_type: 'refresh_token',
      refresh_token: body.refresh_token,
    })
    const own = await post('/auth/token', {
      grant_type: 'refresh_token',
      refresh_token: body.refresh_token,
      client_id: 'phone',
    })

    expect(orders.body.clientId).toBe('phone')
    expect([others.status, own.status]).toEqual([400, 200])
  })
})

describe('A bearer token', () => {
  test('opens the routes that ask for it, and says whose it is', async () => {
    const { send, signIn } = await site()
    const { access_token: token } = await signIn('alice')

    const orders = await send<{ userId: string; sid: string }>('/orders', bearer(token))
    const user = await send('/auth/user', bearer(token))
    const session = await send<{ sid: string }>('/auth/session', bearer(token))

    expect(orders.body).toMatchObject({ userId: 'alice', clientId: 'first-party' })
    expect(user.body).toEqual({ id: 'alice', role: 'member' })
    expect(session.body).toMatchObject({
      sid: orders.body.sid,
      user: { id: 'alice' },
      client_id: 'first-party',
    })
  })

  test('that is missing is 401 with a bare challenge, one that is wrong 401 with a reason', async () => {
    const { send } = await site()
    const missing = await send<Failure>('/orders')
    const wrong = await send<Failure>('/orders', bearer('a.b.c'))
    const malformed = await send<Failure>('/auth/user', { headers: { authorization: 'Bearer a b' } })

    expect([missing.status, missing.headers.get('www-authenticate'), missing.body.error_code]).toEqual([
      401,
      'Bearer',
      'no_authorization',
    ])
    for (const { status, headers, body } of [wrong, malformed]) {
      expect([status, body.error, body.error_code]).toEqual([401, 'invalid_token', 'bad_jwt'])
      expect(headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
    }
  })

  test('of a session that has ended is 401 where that is looked at', async () => {
    const { send, signIn, auth } = await site()
    const { access_token: token } = await signIn('alice')
    await auth.registry.endAll('alice')

    for (const path of ['/live', '/auth/user', '/auth/session']) {
      const { status, body } = await send<Failure>(path, bearer(token))
      expect([path, status, body.error_code]).toEqual([path, 401, 'session_not_found'])
    }
    expect((await send('/orders', bearer(token))).status).toBe(200)
  })
})

describe('A sign-out', () => {
  test('ends this session, all, or all others', async () => {
    const { post, signIn, refresh } = await site()
    const [one, two, three] = [await signIn('alice'), await signIn('alice'), await signIn('alice')]
    const alive = async () =>
      Promise.all(
        [one, two, three].map(async ({ refresh_token: token }) => (await refresh(token)).status === 200),
      )

    expect((await post('/auth/logout', {}, one.access_token)).status).toBe(204)
    expect(await alive()).toEqual([false, true, true])
    expect((await post('/auth/logout?scope=others', {}, three.access_token)).status).toBe(204)
    expect(await alive()).toEqual([false, false, true])
    expect((await post('/auth/logout-all', {}, three.access_token)).status).toBe(204)
    expect(await alive()).toEqual([false, false, false])
  })

  test('may be repeated, but of others only by who is signed in', async () => {
    const { post, signIn, refresh } = await site()
    const [gone, other] = [await signIn('alice'), await signIn('alice')]
    await post('/auth/logout', {}, gone.access_token)

    expect((await post('/auth/logout', {}, gone.access_token)).status).toBe(204)
    expect((await post('/auth/logout?scope=global', {}, gone.access_token)).status).toBe(401)
    expect((await post('/auth/logout?scope=everything', {}, other.access_token)).status).toBe(400)
    expect((await post('/auth/logout', {})).status).toBe(401)
    expect((await refresh(other.refresh_token)).status).toBe(200)
  })

  test('by revocation takes either token, and is 200 for any other', async () => {
    const { post, signIn, refresh } = await site()
    const [one, two, three] = [await signIn('alice'), await signIn('alice'), await signIn('alice')]

    for (const token of [one.refresh_token, two.access_token, 'nothing'])
      expect(await post('/auth/revoke', { token })).toMatchObject({ status: 200, body: {} })
    expect((await post('/auth/revoke', {})).status).toBe(400)
    expect((await refresh(one.refresh_token)).status).toBe(400)
    expect((await refresh(two.refresh_token)).status).toBe(400)
    expect((await refresh(three.refresh_token)).status).toBe(200)
  })

  test('tells an upstream, whose failure is reported and changes nothing', async () => {
    const told: unknown[] = []
    const failures: unknown[] = []
    const upstream = Object.assign(async () => ({ user: { id: 'alice' }, upstream: 'secret of theirs' }), {
      logout: async ({ scope, upstream }: { scope: string; upstream: string | undefined }) => {
        told.push([scope, upstream])
        throw new Error('away')
      },
    })
    const store = new InProcessStore()
    const events: unknown[] = []
    store.on('upstream-logout-failed', (event) => events.push(event))
    const { post, signIn, refresh } = await statefulSite({
      store,
      authenticate: upstream,
      onError: (error) => failures.push(error),
    })
    const { access_token: token, refresh_token: refreshToken } = await signIn('alice')

    expect((await post('/auth/logout', {}, token)).status).toBe(204)
    expect((await refresh(refreshToken)).status).toBe(400)
    expect(told).toEqual([['local', 'secret of theirs']])
    expect([failures.length, events.length]).toEqual([1, 1])
  })
})

describe('The public documents', () => {
  test('name the routes under the issuer, by both names, and may be kept', async () => {
    const { send, url } = await site()
    for (const name of ['openid-configuration', 'oauth-authorization-server']) {
      const { status, headers, body } = await send(`/auth/.well-known/${name}`)
      expect([status, headers.get('cache-control')]).toEqual([200, 'public, max-age=600'])
      expect(body).toMatchObject({
        issuer: `${url}/auth`,
        token_endpoint: `${url}/auth/token`,
        revocation_endpoint: `${url}/auth/revoke`,
        jwks_uri: `${url}/auth/.well-known/jwks.json`,
        response_types_supported: [],
      })
    }
  })

  test('have the public half of each key', async () => {
    const { send } = await site()
    const { body } = await send<{ keys: object[] }>('/auth/.well-known/jwks.json')

    expect(body.keys).toEqual([expect.objectContaining({ kty: 'EC', alg: 'ES256', use: 'sig' })])
    expect(body.keys[0]).not.toHaveProperty('d')
  })
})

describe('The router', () => {
  test('leaves other paths to the app, and other methods of its own to nobody', async () => {
    const { send } = await site()

    expect((await send('/auth/elsewhere')).status).toBe(418)
    const { status, headers } = await send('/auth/token')
    expect([status, headers.get('allow')]).toEqual([405, 'POST'])
  })

  test.each([
    ['an unknown option', { keyz: [] }, /"keyz".*did you mean "keys"/],
    ['a store of somebody else', { store: {} }, /"store" must be a store of this package/],
    ['no store and no secrets', { store: undefined }, /"secrets" must be given/],
    [
      'a grace without a store',
      { store: undefined, secrets: [SECRET], refreshGrace: 1 },
      /"refreshGrace" must be left out/,
    ],
    ['a grace of an hour', { refreshGrace: 3600 }, /"refreshGrace" must be a number from 0 to 300/],
    ['tokens of a second', { accessTtl: 1 }, /"accessTtl" must be/],
    ['no clients', { clients: [] }, /"clients" must be/],
    ['no authenticate', { authenticate: undefined }, /"authenticate" must be a function/],
    ['an unknown transport', { transport: 'pigeon' }, /"transport" must be/],
  ])('refuses %s by name', async (_name, wrong, message) => {
    const options = { store: new InProcessStore(), ...wrong } as Parameters<typeof statefulSite>[0]

    await expect(statefulSite(options)).rejects.toThrow(message)
  })

  test('refuses a "live" of what cannot be looked at', async () => {
    const router = await import('../../lib/auth/index.ts')
    const { generateKeyPairSync } = await import('node:crypto')
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const auth = router.createAuthRouter({
      issuer: 'https://app.example/auth',
      audience: 'app',
      keys: [privateKey],
      authenticate,
      secrets: [SECRET],
    })
    const requireAuth = auth.requireAuth as (options: object) => unknown

    expect(() => requireAuth({ live: true })).toThrow(/Unknown option "live"/)
    expect(auth).not.toHaveProperty('registry')
  })
})

describe('Without a store', () => {
  test('the same routes serve, and a sign-out is 204 but ends nothing', async () => {
    const { signIn, refresh, post, send } = await statelessSite({ secrets: [SECRET] })
    const { access_token: token, refresh_token: refreshToken } = await signIn('alice')
    const next = await refresh(refreshToken)

    expect(next.status).toBe(200)
    expect(next.body.user).toEqual({ id: 'alice', role: 'member' })
    expect(next.body.refresh_token).toMatch(/^[\w-]+$/)
    expect((await send('/auth/user', bearer(token))).body).toEqual({ id: 'alice' })
    expect((await send('/auth/session', bearer(token))).body).toMatchObject({ user: { id: 'alice' } })
    expect((await post('/auth/logout', {}, token)).status).toBe(204)
    expect((await refresh(refreshToken)).status).toBe(200)
    expect((await refresh(`A${refreshToken.slice(1)}`)).body).toMatchObject({
      error_code: 'refresh_token_not_found',
    })
  })

  test('a session ends for certain all the same', async () => {
    const clock = { now: () => Date.now() }
    const { signIn, refresh } = await statelessSite({
      secrets: [SECRET],
      absoluteTtl: 3,
      refreshTtl: 2,
      clock,
    })
    const { refresh_token: first, expires_in: expiresIn } = await signIn('alice')
    expect(expiresIn).toBeLessThanOrEqual(2)
    const { refresh_token: second } = (await refresh(first)).body
    const real = clock.now
    clock.now = () => real() + 2100
    expect((await refresh(first)).status).toBe(400)
    clock.now = () => real() + 3100
    expect((await refresh(second)).status).toBe(400)
  })

  test('tokens go on once there is a store, with the end they had, and are then listed', async () => {
    const issuer = 'https://app.example/auth'
    const { signIn } = await statelessSite({ issuer, secrets: [SECRET] })
    const { refresh_token: token } = await signIn('alice')
    const { refresh, auth } = await statefulSite({ issuer, store: new InProcessStore(), secrets: [SECRET] })

    const { status, body } = await refresh(token)

    expect(status).toBe(200)
    expect(body.refresh_token).toContain('.')
    expect(await auth.registry.count('alice')).toBe(1)
    expect((await refresh(body.refresh_token)).status).toBe(200)
    await auth.registry.endAll('alice')
    expect((await refresh(body.refresh_token)).status).toBe(400)
  })

  test('tokens of another issuer mean nothing', async () => {
    const { signIn } = await statelessSite({ issuer: 'https://one.example', secrets: [SECRET] })
    const { refresh } = await statelessSite({ issuer: 'https://other.example', secrets: [SECRET] })

    expect((await refresh((await signIn('alice')).refresh_token)).status).toBe(400)
  })
})
