import GoTrue from 'gotrue-js'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import { ResourceOwnerPassword } from 'simple-oauth2'
import { describe, expect, it } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { AUDIENCE, PASSWORD, statefulSite } from './auth-site.ts'

const USER = { username: 'ann', password: PASSWORD }

function site() {
  return statefulSite({ store: new InProcessStore() })
}

describe('oauth4webapi', () => {
  const insecure = { [oauth.allowInsecureRequests]: true }
  const client: oauth.Client = { client_id: 'first-party' }

  async function discovered(issuer: string): Promise<oauth.AuthorizationServer> {
    const url = new URL(issuer)
    const response = await oauth.discoveryRequest(url, { algorithm: 'oidc', ...insecure })
    return oauth.processDiscoveryResponse(url, response)
  }

  async function signedIn(server: oauth.AuthorizationServer): Promise<oauth.TokenEndpointResponse> {
    const parameters = new URLSearchParams(USER)
    const response = await oauth.genericTokenEndpointRequest(
      server,
      client,
      oauth.None(),
      'password',
      parameters,
      insecure,
    )
    return oauth.processGenericTokenEndpointResponse(server, client, response)
  }

  async function refreshed(
    server: oauth.AuthorizationServer,
    token = '',
  ): Promise<oauth.TokenEndpointResponse> {
    const response = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, insecure)
    return oauth.processRefreshTokenResponse(server, client, response)
  }

  it('discovers the server, signs in, refreshes and revokes', async () => {
    const { url, auth } = await site()
    const server = await discovered(`${url}/auth`)
    const first = await signedIn(server)
    const second = await refreshed(server, first.refresh_token)
    const revoked = await oauth.revocationRequest(
      server,
      client,
      oauth.None(),
      second.refresh_token ?? '',
      insecure,
    )
    await oauth.processRevocationResponse(revoked)

    expect(first).toMatchObject({ token_type: 'bearer', expires_in: 300 })
    expect(second.refresh_token).not.toBe(first.refresh_token)
    expect(await auth.registry.count('ann')).toBe(0)
    await expect(refreshed(server, second.refresh_token)).rejects.toMatchObject({
      error: 'invalid_grant',
      status: 400,
    })
  })

  it('verifies the access token as RFC 9068 asks', async () => {
    const { url } = await site()
    const server = await discovered(`${url}/auth`)
    const { access_token: token } = await signedIn(server)
    const request = new Request('http://127.0.0.1/orders', { headers: { authorization: `Bearer ${token}` } })
    const claims = await oauth.validateJwtAccessToken(server, request, AUDIENCE, insecure)

    expect(claims).toMatchObject({ sub: 'ann', client_id: 'first-party', iss: `${url}/auth` })
  })

  it('reads why a sign-in was refused from the body', async () => {
    const { url } = await site()
    const server = await discovered(`${url}/auth`)
    const wrong = new URLSearchParams({ username: 'ann', password: 'wrong' })
    const response = await oauth.genericTokenEndpointRequest(
      server,
      client,
      oauth.None(),
      'password',
      wrong,
      insecure,
    )

    await expect(oauth.processGenericTokenEndpointResponse(server, client, response)).rejects.toMatchObject({
      name: 'ResponseBodyError',
      error: 'invalid_grant',
    })
  })
})

describe('openid-client', () => {
  async function discovered(url: string): Promise<openid.Configuration> {
    const execute = [openid.allowInsecureRequests]
    return openid.discovery(new URL(`${url}/auth`), 'first-party', undefined, openid.None(), { execute })
  }

  it('discovers the server, signs in, refreshes and revokes', async () => {
    const { url, auth } = await site()
    const config = await discovered(url)
    const first = await openid.genericGrantRequest(config, 'password', USER)
    const second = await openid.refreshTokenGrant(config, first.refresh_token ?? '')
    expect(first.expires_in).toBe(300)
    expect(second.refresh_token).not.toBe(first.refresh_token)
    expect(await auth.registry.count('ann')).toBe(1)

    await openid.tokenRevocation(config, second.refresh_token ?? '')
    await openid.tokenRevocation(config, 'unknown')
    expect(await auth.registry.count('ann')).toBe(0)
    await expect(openid.refreshTokenGrant(config, second.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
  })
})

describe('simple-oauth2', () => {
  it.each(['header', 'body'] as const)(
    'signs in with its secret in the %s, refreshes and revokes',
    async (method) => {
      const { url, auth } = await site()
      const client = new ResourceOwnerPassword({
        client: { id: 'first-party', secret: 'of no meaning' },
        auth: { tokenHost: url, tokenPath: '/auth/token', revokePath: '/auth/revoke' },
        options: { authorizationMethod: method },
      })
      const first = await client.getToken(USER)
      const second = await first.refresh()
      expect(first.expired()).toBe(false)
      expect(second.token['refresh_token']).not.toBe(first.token['refresh_token'])

      await second.revoke('refresh_token')
      expect(await auth.registry.count('ann')).toBe(0)
      await expect(second.refresh()).rejects.toMatchObject({ output: { statusCode: 400 } })
    },
  )
})

describe('gotrue-js', () => {
  it('signs in, refreshes and signs out', async () => {
    const { url, auth } = await site()
    const client = new GoTrue({ APIUrl: `${url}/auth`, setCookie: false })
    const user = await client.login('ann', PASSWORD)
    const first = user.tokenDetails()
    const token = await user.jwt(true)

    expect(user).toMatchObject({ id: 'ann', role: 'member' })
    expect(token).not.toBe(first?.access_token)
    expect(user.tokenDetails()?.refresh_token).not.toBe(first?.refresh_token)
    await user.logout()
    expect(await auth.registry.count('ann')).toBe(0)
  })

  it('is told why a sign-in was refused', async () => {
    const { url } = await site()
    const client = new GoTrue({ APIUrl: `${url}/auth`, setCookie: false })

    await expect(client.login('ann', 'wrong')).rejects.toMatchObject({
      status: 400,
      json: { error: 'invalid_grant' },
    })
  })
})
