import { afterEach, describe, expect, it, vi } from 'vitest'
import { gotrueUpstream } from '../../lib/auth/gotrue-upstream.ts'
import { hashPassword, type LocalUser, localUsers } from '../../lib/auth/passwords.ts'
import { InProcessStore } from '../../lib/index.ts'
import { PASSWORD, statefulSite } from './auth-site.ts'
import { startUpstream, type UpstreamFaults } from './gotrue-process.ts'
import { observeArgon2 } from './observed-argon2.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

describe('Sign-ins of localUsers, over HTTP', () => {
  it('are refused with the same status, headers and body after one verification, whatever the reason', async () => {
    const passwordHash = await hashPassword(PASSWORD)
    const users: Record<string, LocalUser> = {
      ann: { id: 'ann', passwordHash },
      disabled: { id: 'd', passwordHash, disabled: true },
      locked: { id: 'l', passwordHash, locked: true },
      none: { id: 'n', passwordHash: null },
    }
    const authenticate = localUsers({ find: async (username) => users[username] })
    const { post } = await statefulSite({ store: new InProcessStore(), authenticate })
    const signIn = async (username: string, password: string) => {
      const observed = observeArgon2()
      const reply = await post('/auth/token', { grant_type: 'password', username, password })
      vi.restoreAllMocks()
      const headers = [...reply.headers].filter(([name]) => name !== 'date')
      return { status: reply.status, headers, body: reply.body, verified: observed.verified.length }
    }
    const wrong = await signIn('ann', 'wrong')

    expect(wrong).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', error_code: 'invalid_credentials' },
      verified: 1,
    })
    for (const name of ['unknown', 'disabled', 'locked', 'none'])
      expect(await signIn(name, PASSWORD), name).toEqual(wrong)
    expect(await signIn('ann', PASSWORD)).toMatchObject({ status: 200, verified: 1 })
  })

  it('are refused with 503 and Retry-After where too many come at once', async () => {
    const passwordHash = await hashPassword(PASSWORD)
    const authenticate = localUsers({ find: async (id) => ({ id, passwordHash }) })
    const { post, auth } = await statefulSite({ store: new InProcessStore(), authenticate })
    const observed = observeArgon2()
    const replies = await Promise.all(
      Array.from({ length: 100 }, (_, at) =>
        post('/auth/token', { grant_type: 'password', username: `u${at}`, password: PASSWORD }),
      ),
    )
    const refused = replies.filter(({ status }) => status === 503)
    const counts = await Promise.all(replies.map((_, at) => auth.registry.count(`u${at}`)))

    expect(observed.mostRunning).toBe(2)
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(100 - refused.length)
    expect(refused.length).toBeGreaterThan(0)
    for (const { headers, body } of refused) {
      expect(headers.get('retry-after')).toBe('1')
      expect(body).toMatchObject({ error: 'temporarily_unavailable' })
    }
    expect(counts.filter((count) => count === 1)).toHaveLength(100 - refused.length)
  })
})

describe('Sign-ins of gotrueUpstream, over HTTP', () => {
  const FORM = { grant_type: 'password', email: 'ann@app.example', password: 'right' }

  async function sited(timeoutMs = 5000) {
    const upstream = await startUpstream()
    const errors: unknown[] = []
    const site = await statefulSite({
      store: new InProcessStore(),
      authenticate: gotrueUpstream({ url: upstream.url, timeoutMs }),
      onError: (error) => errors.push(error),
    })
    const signIn = () => site.post('/auth/token', FORM)
    const count = () => site.auth.registry.count('6f1c')
    return { ...site, upstream, errors, signIn, count }
  }

  it('reach the upstream with each refresh and sign-out, whose tokens no client sees', async () => {
    const { upstream, signIn, refresh, post, count, send } = await sited()
    const first = await signIn()
    const second = await refresh(first.body.refresh_token)
    const { seen, sessions } = await upstream.look()
    const user = await send('/auth/user', {
      headers: { authorization: `Bearer ${second.body.access_token}` },
    })

    expect(seen.map(({ route }) => route)).toEqual([
      '/token?grant_type=password',
      '/token?grant_type=refresh_token',
    ])
    expect(user.body).toMatchObject({ id: '6f1c', email: 'ann@app.example' })
    for (const secret of [sessions[0]?.active, sessions[0]?.parent, sessions[0]?.access])
      expect(JSON.stringify([first.body, second.body, user.body])).not.toContain(secret)

    expect((await post('/auth/logout', {}, second.body.access_token)).status).toBe(204)
    expect((await upstream.look()).sessions).toEqual([])
    expect(await count()).toBe(0)
    await upstream.kill()
  })

  it('end with a ban within one access lifetime', async () => {
    const { upstream, signIn, refresh, count } = await sited()
    const { body } = await signIn()
    await upstream.ban(true)

    expect(await refresh(body.refresh_token)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    expect(await count()).toBe(0)
    await upstream.kill()
  })

  const faults: [string, UpstreamFaults | 'frozen'][] = [
    ['frozen', 'frozen'],
    ['replying 500', { status: 500 }],
    ['replying 429', { status: 429 }],
    ['replying garbage', { garbage: '<html>' }],
    ['cutting its replies', { cut: true }],
  ]

  it.each(faults)('and refreshes fail, and nothing is stored or ended, while it is %s', async (_, fault) => {
    const { upstream, signIn, refresh, count } = await sited(fault === 'frozen' ? 500 : 5000)
    const { body } = await signIn()
    if (fault === 'frozen') upstream.freeze()
    else await upstream.fault(fault)
    const [failedSignIn, failedRefresh] = [await signIn(), await refresh(body.refresh_token)]

    expect(failedRefresh.status).toBe(503)
    expect(failedRefresh.headers.get('retry-after')).toBe('1')
    expect(failedSignIn.status).toBe(typeof fault === 'object' && fault.status === 429 ? 429 : 503)
    expect(await count()).toBe(1)
    if (fault === 'frozen') upstream.thaw()
    await upstream.fault({})
    expect((await refresh(body.refresh_token)).status).toBe(200)
    expect(await count()).toBe(1)
    await upstream.kill()
  })

  it('are signed out here although the upstream is gone, which is reported', async () => {
    const { upstream, signIn, post, refresh, count, errors } = await sited()
    const { body } = await signIn()
    await upstream.kill()

    expect((await post('/auth/logout', {}, body.access_token)).status).toBe(204)
    expect(await count()).toBe(0)
    expect((await refresh(body.refresh_token)).status).toBe(400)
    expect(errors).toMatchObject([{ code: 'ERR_AUTH_UNAVAILABLE' }])
  })
})
