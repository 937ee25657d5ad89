import { createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect, it } from 'vitest'
import { type AccessTokenOptions, createAccessTokens } from '../../lib/auth/access-token.ts'
import { InvalidTokenError, KeysUnavailableError } from '../../lib/auth/auth-errors.ts'
import { TestClock } from '../support/clock.ts'
import { badTokens, base64url } from './token-corpus.ts'

const ISSUER = 'https://app.example/auth'
const SUBJECT = { sub: 'u1', sid: 'handle-1', clientId: 'first-party' }

function ecKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

function tokensWith(options: Partial<AccessTokenOptions> = {}) {
  return createAccessTokens({ issuer: ISSUER, audience: 'api', keys: [ecKey()], ...options })
}

function issued(
  tokens: ReturnType<typeof tokensWith>,
  nowMs = Date.now(),
  endsAtMs = Number.POSITIVE_INFINITY,
) {
  return tokens.issue({ ...SUBJECT, nowMs, endsAtMs })
}

describe('An access token', () => {
  it('has the form and the claims of RFC 9068, and the handle of its session', async () => {
    const tokens = tokensWith({ clock: new TestClock(1_800_000_000_500) })
    const { token, expiresInS } = await issued(tokens)
    const { keys } = await tokens.jwks()

    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: keys[0]?.kid })
    expect(decodeJwt(token)).toEqual({
      iss: ISSUER,
      aud: 'api',
      sub: 'u1',
      client_id: 'first-party',
      sid: 'handle-1',
      jti: expect.stringMatching(/^[\da-f-]{36}$/),
      iat: 1_800_000_000,
      exp: 1_800_000_300,
    })
    expect(expiresInS).toBe(300)
  })

  it('is verified into its claims', async () => {
    const tokens = tokensWith()
    const { token } = await issued(tokens)

    expect(await tokens.verify(token)).toEqual(decodeJwt(token))
  })

  it('never outlives its session', async () => {
    const nowMs = Date.now()
    const { token, expiresInS } = await issued(tokensWith(), nowMs, nowMs + 60_000)

    expect(expiresInS).toBe(60)
    expect(decodeJwt(token)).toMatchObject({
      iat: expect.any(Number),
      exp: Number(decodeJwt(token).iat) + 60,
    })
  })

  it('is valid at once where the clock of the backend is hours off', async () => {
    const tokens = tokensWith()
    for (const hours of [-3, 3]) {
      const nowMs = Date.now() + hours * 3_600_000
      const { token, expiresInS } = await issued(tokens, nowMs, nowMs + 60_000)

      expect(expiresInS).toBe(60)
      expect((await tokens.verify(token)).sub).toBe('u1')
    }
  })

  it('expires by the clock it is given, 5 seconds of tolerance included', async () => {
    const clock = new TestClock()
    const tokens = tokensWith({ clock, accessTtlS: 60 })
    const { token } = await issued(tokens, clock.now())

    clock.advance(63_000)
    expect((await tokens.verify(token)).sub).toBe('u1')
    clock.advance(4000)
    await expect(tokens.verify(token)).rejects.toBeInstanceOf(InvalidTokenError)
  })

  it('that has expired is still known to be genuine, on demand only', async () => {
    const clock = new TestClock()
    const tokens = tokensWith({ clock })
    const { token } = await issued(tokens, clock.now())
    clock.advance(86_400_000)

    expect((await tokens.verify(token, { acceptExpired: true })).sid).toBe('handle-1')
    await expect(tokens.verify(token)).rejects.toBeInstanceOf(InvalidTokenError)
    await expect(tokensWith().verify(token, { acceptExpired: true })).rejects.toBeInstanceOf(
      InvalidTokenError,
    )
  })

  it('carries the claims of the app, and no reserved ones', async () => {
    const named = tokensWith({ claims: ({ sub }) => ({ roles: ['admin'], of: sub }) })
    const { token } = await issued(named)
    expect(await named.verify(token)).toMatchObject({ roles: ['admin'], of: 'u1' })

    for (const name of ['sub', 'exp', 'nbf', 'cnf', 'client_id', 'sid', 'iss'])
      await expect(issued(tokensWith({ claims: () => ({ [name]: 'x' }) }))).rejects.toThrow(
        `leaves "${name}" out`,
      )
    const polluting = JSON.parse('{"__proto__":{"sub":"admin"}}')
    await expect(issued(tokensWith({ claims: () => polluting }))).rejects.toThrow('leaves "__proto__" out')
  })

  it('is not issued larger than it would be accepted', async () => {
    await expect(issued(tokensWith({ claims: () => ({ text: 'x'.repeat(9000) }) }))).rejects.toThrow(
      '"claims"',
    )
  })

  it.each(['ES256', 'EdDSA', 'HS256'] as const)('is signed and verified with %s', async (alg) => {
    const key =
      alg === 'HS256'
        ? randomBytes(32)
        : alg === 'ES256'
          ? ecKey()
          : generateKeyPairSync('ed25519').privateKey
    const tokens = tokensWith({ alg, keys: [key] })
    const { token } = await issued(tokens)

    expect(decodeProtectedHeader(token).alg).toBe(alg)
    expect((await tokens.verify(token)).sub).toBe('u1')
    expect((await tokens.jwks()).keys).toHaveLength(alg === 'HS256' ? 0 : 1)
  })

  it('of several audiences is for each of them', async () => {
    const key = ecKey()
    const { token } = await issued(tokensWith({ keys: [key], audience: ['api', 'admin'] }))

    expect(decodeJwt(token).aud).toEqual(['api', 'admin'])
    expect((await tokensWith({ keys: [key], audience: 'admin' }).verify(token)).sub).toBe('u1')
  })
})

describe('A bad token', () => {
  it('is refused with 401, whatever is wrong with it: 0 of the corpus are accepted', async () => {
    const key = ecKey()
    const clock = new TestClock()
    const tokens = tokensWith({ keys: [key], clock })
    const { token } = await issued(tokens, clock.now())
    const corpus = badTokens({ token, key, nowS: Math.floor(clock.now() / 1000) })

    const outcomes = await Promise.all(
      corpus.map(async ([name, bad]) => {
        const outcome = await tokens.verify(bad).then(
          () => 'accepted',
          (error: unknown) => (error instanceof InvalidTokenError ? error.status : error),
        )
        return [name, outcome] as const
      }),
    )

    expect(outcomes.filter(([, outcome]) => outcome !== 401)).toEqual([])
    expect(corpus.length).toBeGreaterThanOrEqual(55)
    expect((await tokens.verify(token)).sub).toBe('u1')
  })

  it('is refused although a token that has expired is accepted', async () => {
    const key = ecKey()
    const tokens = tokensWith({ keys: [key] })
    const { token } = await issued(tokens)
    const corpus = badTokens({ token, key, nowS: Math.floor(Date.now() / 1000) })
    const accepted: string[] = []
    for (const [name, bad] of corpus)
      await tokens.verify(bad, { acceptExpired: true }).then(
        () => accepted.push(name),
        (error: unknown) => expect(error, name).toBeInstanceOf(InvalidTokenError),
      )

    expect(accepted).toEqual(['expired'])
  })

  it('is refused if it is no string at all', async () => {
    const tokens = tokensWith()
    for (const bad of [undefined, null, 1, {}, ['a.b.c']])
      await expect(tokens.verify(bad as unknown as string)).rejects.toBeInstanceOf(InvalidTokenError)
  })

  it('signed with a secret is refused where keys are EC, also under a header of ours', async () => {
    const tokens = tokensWith()
    const { token } = await issued(tokens)
    const [header = '', payload = ''] = token.split('.')

    await expect(tokens.verify(`${header}.${payload}.${base64url(randomBytes(32))}`)).rejects.toBeInstanceOf(
      InvalidTokenError,
    )
    await expect(tokens.verify(`${header}.${payload}.${base64url(randomBytes(64))}`)).rejects.toBeInstanceOf(
      InvalidTokenError,
    )
  })

  it('cannot be told from a good one while the keys are unavailable, which is 503', async () => {
    const { token } = await issued(tokensWith())
    const tokens = tokensWith({ keys: () => Promise.reject(new Error('secret manager: token abc')) })
    const error: unknown = await tokens.verify(token).catch((reason: unknown) => reason)

    expect(error).toBeInstanceOf(KeysUnavailableError)
    expect(error).toMatchObject({ status: 503, headers: { 'Retry-After': '1' } })
    expect(String(error)).not.toContain('abc')
    await expect(tokens.verify('no token')).rejects.toBeInstanceOf(InvalidTokenError)
  })
})

describe('The options of access tokens', () => {
  it.each([
    ['alg', { alg: 'RS256' }],
    ['alg', { alg: 'none' }],
    ['accessTtlS', { accessTtlS: 29 }],
    ['accessTtlS', { accessTtlS: Number.NaN }],
    ['issuer', { issuer: 'app.example' }],
    ['issuer', { issuer: 'https://app.example/auth?x=1' }],
    ['audience', { audience: '' }],
    ['audience', { audience: [] }],
    ['claims', { claims: {} }],
  ])('name what is wrong with "%s"', (name, options) => {
    expect(() => tokensWith(options as unknown as Partial<AccessTokenOptions>)).toThrow(`Option "${name}"`)
  })

  it('accept no secret of fewer than 32 bytes, in whatever form', () => {
    for (const short of ['short', randomBytes(31), createSecretKey(randomBytes(5))])
      expect(() => tokensWith({ alg: 'HS256', keys: [short] })).toThrow(
        '"keys[0]" must be at least 32 bytes long',
      )
  })
})
