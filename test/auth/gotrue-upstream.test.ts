import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type GotrueUpstreamOptions, gotrueUpstream } from '../../lib/auth/gotrue-upstream.ts'
import { startUpstream, type Upstream, type UpstreamFaults } from './gotrue-process.ts'

const req = new IncomingMessage(new Socket())
let upstream: Upstream

beforeEach(async () => {
  upstream = await startUpstream()
})

afterEach(() => upstream.kill())

function adapter(options: Partial<GotrueUpstreamOptions> = {}) {
  const authenticate = gotrueUpstream({ url: upstream.url, timeoutMs: 5000, ...options })
  const signIn = (username = 'ann@app.example', password = 'right') =>
    authenticate({ grant: 'password', username, password, req })
  const refresh = async (secret: string | undefined, sid = 'handle-1') =>
    authenticate.refresh?.({ userId: '6f1c', sid, upstream: secret, req })
  const logout = async (secret: string | undefined, scope: 'local' | 'global' | 'others' = 'local') =>
    authenticate.logout?.({ userId: '6f1c', sid: 'handle-1', upstream: secret, req, scope })
  const signedIn = async (): Promise<string> => {
    const found = await signIn()
    return found !== undefined && 'upstream' in found ? (found.upstream ?? '') : ''
  }
  return { signIn, refresh, logout, signedIn }
}

describe('A sign-in at an upstream', () => {
  it('returns its user and keeps its refresh token, never its access token', async () => {
    const found = await adapter({ apiKey: 'key-1' }).signIn()
    const { seen, sessions } = await upstream.look()

    expect(found).toEqual({
      user: expect.objectContaining({ id: '6f1c', email: 'ann@app.example' }),
      upstream: sessions[0]?.active,
    })
    expect(JSON.stringify(found)).not.toContain(sessions[0]?.access)
    expect(seen).toEqual([
      {
        route: '/token?grant_type=password',
        apikey: 'key-1',
        version: '2024-01-01',
        body: '{"email":"ann@app.example","password":"right"}',
      },
    ])
  })

  it.each(['new', 'old', 'oldest', 'header'] as const)(
    'that is denied is nobody, in the form of errors "%s"',
    async (form) => {
      await upstream.fault({ form })

      expect(await adapter().signIn('ann@app.example', 'wrong')).toBeUndefined()
    },
  )

  it.each([
    ['user_banned', 400],
    ['email_not_confirmed', 400],
    ['validation_failed', 400],
    ['weak_password', 422],
  ])('is nobody where the upstream says %s', async (code, status) => {
    await upstream.fault({ status, body: { code } })

    expect(await adapter().signIn()).toBeUndefined()
  })

  it('sends a name without @ as a phone number', async () => {
    await adapter().signIn('+4912345')

    expect((await upstream.look()).seen[0]?.body).toBe('{"phone":"+4912345","password":"right"}')
  })

  it('is told of too many attempts, and how long to wait', async () => {
    await upstream.fault({ status: 429, headers: { 'retry-after': '42' } })
    await expect(adapter().signIn()).rejects.toMatchObject({ status: 429, headers: { 'Retry-After': '42' } })

    await upstream.fault({ status: 429, headers: { 'retry-after': 'x\ty' } })
    await expect(adapter().signIn()).rejects.toMatchObject({ status: 429, headers: { 'Retry-After': '5' } })
  })
})

describe('A refresh at an upstream', () => {
  it('returns the next secret, and the user as it is now', async () => {
    const { signedIn, refresh } = adapter()
    const first = await signedIn()
    const renewed = await refresh(first)
    const { sessions } = await upstream.look()

    expect(renewed?.upstream).toBe(sessions[0]?.active)
    expect(renewed?.upstream).not.toBe(first)
    expect(renewed?.user.id).toBe('6f1c')
  })

  it('of one session is sent once however many wait; of another one by itself', async () => {
    const { signedIn, refresh } = adapter()
    const [one, other] = [await signedIn(), await signedIn()]
    await upstream.fault({ delayMs: 100 })
    await upstream.look()
    const renewed = await Promise.all([
      ...Array.from({ length: 20 }, () => refresh(one, 'handle-1')),
      refresh(other, 'handle-2'),
    ])

    expect((await upstream.look()).seen).toHaveLength(2)
    expect(new Set(renewed.slice(0, 20).map((found) => found?.upstream)).size).toBe(1)
    expect(await refresh(renewed[0]?.upstream)).toBeDefined()
  })

  it('whose outcome was not stored goes on with the secret of before', async () => {
    const { signedIn, refresh } = adapter()
    const first = await signedIn()
    const lost = await refresh(first)
    const again = await refresh(first)

    expect(again?.upstream).toBe(lost?.upstream)
    expect(await refresh(again?.upstream)).toBeDefined()
  })

  it('ends with a ban, and with a secret that the upstream does not know', async () => {
    const { signedIn, refresh } = adapter()
    const secret = await signedIn()

    expect(await refresh('unknown')).toBeUndefined()
    expect(await refresh(undefined)).toBeUndefined()
    await upstream.ban(true)
    expect(await refresh(secret)).toBeUndefined()
  })

  it.each([
    [429, { code: 'over_request_rate_limit' }],
    [401, { message: 'No API key found in request' }],
    [404, { code: 404, msg: 'no such route' }],
    [400, { code: 'bad_json' }],
    [400, {}],
  ])('is 503, not the end, where the upstream replies %i %o', async (status, body) => {
    const { signedIn, refresh } = adapter()
    const secret = await signedIn()
    await upstream.fault({ status, body })

    await expect(refresh(secret)).rejects.toMatchObject({ status: 503, code: 'ERR_AUTH_UNAVAILABLE' })
    await upstream.fault({})
    expect(await refresh(secret)).toBeDefined()
  })
})

describe('A sign-out at an upstream', () => {
  it('ends the one session there, all of the user, or all others', async () => {
    const { signedIn, logout } = adapter()
    const secrets = [await signedIn(), await signedIn(), await signedIn()]
    await logout(secrets[0])
    expect((await upstream.look()).sessions).toHaveLength(2)

    await logout(secrets[1], 'others')
    const { sessions } = await upstream.look()
    expect(sessions.map(({ parent }) => parent)).toEqual([secrets[1]])

    await logout(sessions[0]?.active, 'global')
    expect((await upstream.look()).sessions).toEqual([])
  })

  it('that has happened before is done', async () => {
    const { signedIn, logout } = adapter()
    const secret = await signedIn()
    await logout(secret)

    await logout(secret)
    await logout(undefined)
  })

  it('that the upstream fails to do is reported', async () => {
    const { signedIn, logout } = adapter()
    const secret = await signedIn()
    await upstream.fault({ status: 500 })

    await expect(logout(secret)).rejects.toMatchObject({ status: 503 })
  })
})

describe('An upstream that is away', () => {
  const faults: [string, UpstreamFaults][] = [
    ['replies 500', { status: 500 }],
    ['replies 502 with a page', { status: 502, garbage: '<html>' }],
    ['replies garbage', { garbage: '<html>' }],
    ['replies null', { garbage: 'null' }],
    ['replies without a user', { garbage: '{"access_token":"a","refresh_token":"r"}' }],
    [
      'replies with a user id that is no text',
      { garbage: '{"access_token":"a","refresh_token":"r","user":{"id":1}}' },
    ],
    ['redirects', { redirect: true }],
    ['cuts its reply', { cut: true }],
    ['never stops to reply', { endless: true }],
  ]

  it.each(faults)('is 503: it %s', async (_, fault) => {
    const { signIn, refresh, signedIn } = adapter()
    const secret = await signedIn()
    await upstream.fault(fault)

    await expect(signIn()).rejects.toMatchObject({ status: 503, code: 'ERR_AUTH_UNAVAILABLE' })
    await expect(refresh(secret)).rejects.toMatchObject({ status: 503, code: 'ERR_AUTH_UNAVAILABLE' })
  })

  it('is 503 at its deadline while it is frozen, and works again after', async () => {
    const { signIn, refresh, logout, signedIn } = adapter({ timeoutMs: 300 })
    const secret = await signedIn()
    upstream.freeze()

    await expect(signIn()).rejects.toMatchObject({ status: 503 })
    await expect(refresh(secret)).rejects.toMatchObject({ status: 503 })
    await expect(logout(secret)).rejects.toMatchObject({ status: 503 })
    upstream.thaw()
    await upstream.look()
    expect(await adapter().refresh(secret)).toBeDefined()
  })

  it('is 503 at once when its process is gone, and the error has neither password nor token in it', async () => {
    const { signIn, refresh, signedIn } = adapter()
    const secret = await signedIn()
    await upstream.kill()
    const errors = await Promise.all([
      signIn().catch((error: unknown) => error),
      refresh(secret).catch((error: unknown) => error),
    ])

    for (const error of errors) {
      expect(error).toMatchObject({ status: 503 })
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toMatch(`right|${secret}|ann@`)
    }
  })
})

describe('The options of gotrueUpstream', () => {
  it.each([
    ['url', { url: 'gotrue:9999/x' }],
    ['url', { url: 'http://user:pass@gotrue' }],
    ['apiKey', { apiKey: 'a\nb' }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['timeout', { timeout: 100 }],
  ])('name what is wrong with "%s"', (name, options) => {
    expect(() => gotrueUpstream({ url: 'http://gotrue', ...options })).toThrow(`"${name}"`)
  })
})
