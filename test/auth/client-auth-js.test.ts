import { type AuthChangeEvent, AuthClient } from '@supabase/auth-js'
import { describe, expect, it, onTestFinished } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { PASSWORD, type StatefulSite, statefulSite } from './auth-site.ts'
import { startLossyProxy } from './lossy-proxy.ts'

const EMAIL = 'ann@app.example'

function storage() {
  const items = new Map<string, string>()
  return {
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => void items.set(key, value),
    removeItem: (key: string) => void items.delete(key),
  }
}

/** A client as in a browser: it keeps its session, and tells of its events. */
function clientOf(url: string) {
  const stored = storage()
  const storageKey = `key-${Math.random()}`
  const client = new AuthClient({
    url: `${url}/auth`,
    autoRefreshToken: false,
    persistSession: true,
    storage: stored,
    storageKey,
  })
  /** Lets the time pass in which the access token is valid. */
  const expire = () => {
    const session = JSON.parse(stored.getItem(storageKey) ?? '{}') as object
    stored.setItem(storageKey, JSON.stringify({ ...session, expires_at: 1 }))
  }
  const events: AuthChangeEvent[] = []
  const { data } = client.onAuthStateChange((event) => void events.push(event))
  onTestFinished(() => data.subscription.unsubscribe())
  const signIn = async () => {
    const { data: signedIn, error } = await client.signInWithPassword({ email: EMAIL, password: PASSWORD })
    if (error) throw error
    return signedIn.session
  }
  return { client, events, signIn, expire }
}

function site(options: Omit<Parameters<typeof statefulSite>[0], 'store'> = {}): Promise<StatefulSite> {
  return statefulSite({ store: new InProcessStore(), ...options })
}

describe('@supabase/auth-js', () => {
  it('signs in, knows its user and refreshes', async () => {
    const { url } = await site()
    const { client, events, signIn } = clientOf(url)
    const session = await signIn()
    const { data: found } = await client.getUser()
    const { data: refreshed, error } = await client.refreshSession()

    expect(session.user).toMatchObject({ id: EMAIL, role: 'member' })
    expect(found.user).toMatchObject({ id: EMAIL, role: 'member' })
    expect(error).toBeNull()
    expect(refreshed.session?.refresh_token).not.toBe(session.refresh_token)
    expect(events).toContain('SIGNED_IN')
    expect(events).toContain('TOKEN_REFRESHED')
  })

  it('is told of a wrong password by its own error code', async () => {
    const { client } = clientOf((await site()).url)
    const { data, error } = await client.signInWithPassword({ email: EMAIL, password: 'wrong' })

    expect(data.session).toBeNull()
    expect(error).toMatchObject({ name: 'AuthApiError', status: 400, code: 'invalid_credentials' })
  })

  it('verifies claims by the JWK set, without asking for the user', async () => {
    const { url } = await site()
    const proxy = await startLossyProxy(url)
    const { client, signIn } = clientOf(proxy.url)
    await signIn()
    const { data, error } = await client.getClaims()

    expect(error).toBeNull()
    expect(data?.claims).toMatchObject({ sub: EMAIL, iss: `${url}/auth`, client_id: 'first-party' })
    expect(data?.header).toMatchObject({ alg: 'ES256', typ: 'at+jwt' })
    expect(proxy.exchanges).toEqual([
      'POST /auth/token?grant_type=password 200',
      'GET /auth/.well-known/jwks.json 200',
    ])
  })

  it.each([
    ['local', [false, true]],
    ['others', [true, false]],
    ['global', [false, false]],
  ] as const)('signs out with scope %s', async (scope, [isHereAlive, isElsewhereAlive]) => {
    const { url, auth } = await site()
    const [here, elsewhere] = [clientOf(url), clientOf(url)]
    await here.signIn()
    await elsewhere.signIn()
    const refreshes = async ({ client }: typeof here) => (await client.refreshSession()).error === null
    const kept = (await here.client.getSession()).data.session
    const { error } = await here.client.signOut({ scope })

    expect(error).toBeNull()
    if (scope !== 'others') {
      expect((await here.client.getSession()).data.session).toBeNull()
      expect(here.events).toContain('SIGNED_OUT')
    }
    const stillHere = await here.client.refreshSession({ refresh_token: kept?.refresh_token ?? '' })
    expect(stillHere.error === null).toBe(isHereAlive)
    expect(await refreshes(elsewhere)).toBe(isElsewhereAlive)
    expect(await auth.registry.count(EMAIL)).toBe(Number(isHereAlive) + Number(isElsewhereAlive))
  })

  it('tells its app SIGNED_OUT after an endAll elsewhere, at the next look at the user', async () => {
    const { url, auth } = await site()
    const { client, events, signIn } = clientOf(url)
    await signIn()
    await auth.registry.endAll(EMAIL, { reason: 'password-changed', actor: { type: 'user' } })
    const { error } = await client.getUser()

    expect(error).not.toBeNull()
    await until(() => events.includes('SIGNED_OUT'))
    expect((await client.getSession()).data.session).toBeNull()
  })

  it('tells its app SIGNED_OUT after an endAll elsewhere, at the refresh after its token has expired', async () => {
    const { url, auth } = await site()
    const { client, events, signIn, expire } = clientOf(url)
    await signIn()
    await auth.registry.endAll(EMAIL, { reason: 'password-changed', actor: { type: 'user' } })
    expire()
    expect((await client.getSession()).data.session).toBeNull()
    await until(() => events.includes('SIGNED_OUT'))
  })

  it('refreshes by itself across an outage, and nobody is signed out', async () => {
    const { url } = await site({ accessTtl: 60 })
    const proxy = await startLossyProxy(url)
    const { client, events, signIn } = clientOf(proxy.url)
    const session = await signIn()
    proxy.fault = 'down'
    // Within 90 s of its end, a session is refreshed wherever it is asked for.
    const refreshing = client.getSession()
    await until(() => proxy.exchanges.filter((line) => line.endsWith('503')).length >= 2)
    proxy.fault = undefined
    const { data, error } = await refreshing

    expect(error).toBeNull()
    expect(data.session?.refresh_token).not.toBe(session.refresh_token)
    expect(events).not.toContain('SIGNED_OUT')
    expect((await client.getUser()).data.user?.id).toBe(EMAIL)
  })

  it('refreshes by its timer, across an outage and a reply that is lost', async () => {
    const { url, auth } = await site({ accessTtl: 60 })
    const proxy = await startLossyProxy(url)
    const { client, events, signIn } = clientOf(proxy.url)
    const { refresh_token: first } = await signIn()
    onTestFinished(() => client.stopAutoRefresh())
    const refreshes = (status: string) => (line: string) =>
      line === `POST /auth/token?grant_type=refresh_token ${status}`
    proxy.fault = 'down'
    // Its first tick comes at once, the next ones every 30 s: each tries again for as long.
    await client.startAutoRefresh()
    await until(() => proxy.exchanges.some(refreshes('503')))
    proxy.fault = 'lost'
    await until(() => proxy.exchanges.some(refreshes('0')))
    proxy.fault = undefined
    await until(() => events.includes('TOKEN_REFRESHED'))
    const { data } = await client.getSession()

    expect(data.session?.refresh_token).not.toBe(first)
    expect(events).not.toContain('SIGNED_OUT')
    expect(await auth.registry.count(EMAIL)).toBe(1)
  })

  it('tells its app SIGNED_OUT after an endAll elsewhere, by its timer', async () => {
    const { url, auth } = await site()
    const { client, events, signIn, expire } = clientOf(url)
    await signIn()
    await auth.registry.endAll(EMAIL, { reason: 'password-changed', actor: { type: 'user' } })
    onTestFinished(() => client.stopAutoRefresh())
    expire()
    await client.startAutoRefresh()

    await until(() => events.includes('SIGNED_OUT'))
  })

  it('goes on after a reply that was lost, with the token it had', async () => {
    const { url, auth } = await site()
    const proxy = await startLossyProxy(url)
    const { client, events, signIn } = clientOf(proxy.url)
    await signIn()
    proxy.fault = 'lost'
    const refreshing = client.refreshSession()
    await until(() => proxy.exchanges.some((line) => line.endsWith(' 0')))
    proxy.fault = undefined
    const { error } = await refreshing

    expect(error).toBeNull()
    expect((await client.refreshSession()).error).toBeNull()
    expect(events).not.toContain('SIGNED_OUT')
    expect(await auth.registry.count(EMAIL)).toBe(1)
  })

  it('refreshes in several tabs at once, and all go on', async () => {
    const { url, auth } = await site()
    const first = clientOf(url)
    const session = await first.signIn()
    const tabs = [first, clientOf(url), clientOf(url)]
    for (const { client } of tabs)
      await client.setSession({ access_token: session.access_token, refresh_token: session.refresh_token })
    const refreshed = await Promise.all(tabs.map(({ client }) => client.refreshSession()))

    expect(refreshed.map(({ error }) => error)).toEqual([null, null, null])
    expect(new Set(refreshed.map(({ data }) => data.session?.refresh_token)).size).toBe(1)
    expect(await auth.registry.count(EMAIL)).toBe(1)
  })
})
