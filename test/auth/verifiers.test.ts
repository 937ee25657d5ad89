import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { AuthClient } from '@supabase/auth-js'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import { expressjwt } from 'express-jwt'
import { expressJwtSecret, passportJwtSecret } from 'jwks-rsa'
import * as oauth from 'oauth4webapi'
import passport from 'passport'
import { ExtractJwt, Strategy } from 'passport-jwt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { AUDIENCE, bearer, PASSWORD, statefulSite } from './auth-site.ts'

// Without its types, which declare what `req.auth` is in every program that has them.
const require = createRequire(import.meta.url)
const { auth: bearerAuth } = require('express-oauth2-jwt-bearer') as {
  auth(options: object): RequestHandler
}

/** A resource server in an app of its own, which knows nothing but the issuer's URL. */
async function guardedBy(middleware: RequestHandler): Promise<string> {
  const app = express()
  app.get('/orders', middleware, (_req, res) => void res.json({ well: true }))
  const onError: ErrorRequestHandler = (error: { readonly status?: number }, _req, res, _next) =>
    void res.status(error.status ?? 500).end()
  app.use(onError)
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/orders`
}

type Verifier = (issuer: string) => RequestHandler

const verifiers: Record<string, Verifier> = {
  'express-oauth2-jwt-bearer': (issuer) => bearerAuth({ issuerBaseURL: issuer, audience: AUDIENCE }),
  'express-oauth2-jwt-bearer, strict': (issuer) =>
    bearerAuth({ issuerBaseURL: issuer, audience: AUDIENCE, strict: true, tokenSigningAlg: 'ES256' }),
  'express-jwt with jwks-rsa': (issuer) =>
    expressjwt({
      secret: expressJwtSecret({ jwksUri: `${issuer}/.well-known/jwks.json` }),
      algorithms: ['ES256'],
      issuer,
      audience: AUDIENCE,
    }) as RequestHandler,
  'passport-jwt with jwks-rsa': (issuer) => {
    const strategy = new Strategy(
      {
        secretOrKeyProvider: passportJwtSecret({ jwksUri: `${issuer}/.well-known/jwks.json` }),
        jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
        algorithms: ['ES256'],
        issuer,
        audience: AUDIENCE,
      },
      (claims: { readonly sub: string }, done) => done(null, { id: claims.sub }),
    )
    return new passport.Passport().authenticate(strategy, { session: false }) as RequestHandler
  },
}

describe('A resource server verifies our access tokens', () => {
  it.each(Object.keys(verifiers))('with %s', async (name) => {
    const { url, signIn } = await statefulSite({ store: new InProcessStore() })
    const orders = await guardedBy(verifiers[name]?.(`${url}/auth`) ?? expect.unreachable())
    const { access_token: token } = await signIn('ann')
    const forged = `${token.slice(0, -10)}${'A'.repeat(10)}`

    expect((await fetch(orders, bearer(token))).status).toBe(200)
    expect((await fetch(orders, bearer(forged))).status).toBe(401)
    expect((await fetch(orders)).status).toBe(401)
  })
})

type Keyed = (issuer: string, key: string) => RequestHandler

const ofSecret: Record<string, Keyed> = {
  'express-oauth2-jwt-bearer': (issuer, secret) =>
    bearerAuth({ issuer, audience: AUDIENCE, secret, tokenSigningAlg: 'HS256' }),
  'express-oauth2-jwt-bearer, strict': (issuer, secret) =>
    bearerAuth({ issuer, audience: AUDIENCE, secret, tokenSigningAlg: 'HS256', strict: true }),
  'express-jwt': (issuer, secret) =>
    expressjwt({ secret, algorithms: ['HS256'], issuer, audience: AUDIENCE }) as RequestHandler,
  'passport-jwt': (issuer, secretOrKey) => {
    const jwtFromRequest = ExtractJwt.fromAuthHeaderAsBearerToken()
    const terms = { secretOrKey, jwtFromRequest, algorithms: ['HS256' as const], issuer, audience: AUDIENCE }
    const strategy = new Strategy(terms, (claims: { readonly sub: string }, done) => done(null, claims))
    return new passport.Passport().authenticate(strategy, { session: false }) as RequestHandler
  },
}

/** The statuses that a verifier gives to a token, and to another site's token that is signed with another key. */
async function statusesBy(make: Verifier, options: Partial<Parameters<typeof statefulSite>[0]>) {
  const { url, signIn } = await statefulSite({ store: new InProcessStore(), ...options })
  const orders = await guardedBy(make(`${url}/auth`))
  const { access_token: token } = await signIn('ann')
  const forged = `${token.slice(0, -10)}${'A'.repeat(10)}`
  const statuses = [await fetch(orders, bearer(token)), await fetch(orders, bearer(forged))]
  return statuses.map(({ status }) => status)
}

describe('The table of algorithms is true of', () => {
  const secret = randomBytes(32).toString('hex')
  const ed25519 = { alg: 'EdDSA', keys: [generateKeyPairSync('ed25519').privateKey] } as const
  const hs256 = { alg: 'HS256', keys: [secret] } as const

  it.each(Object.keys(ofSecret))('HS256 and %s, which has the secret', async (name) => {
    const make: Verifier = (issuer) => ofSecret[name]?.(issuer, secret) ?? expect.unreachable()

    expect(await statusesBy(make, hs256)).toEqual([200, 401])
  })

  it.each([
    ['express-oauth2-jwt-bearer', 200],
    ['express-oauth2-jwt-bearer, strict', 200],
    ['express-jwt with jwks-rsa', 500],
    ['passport-jwt with jwks-rsa', 401],
  ])('EdDSA and %s', async (name, expected) => {
    const make: Verifier = (issuer) =>
      name.endsWith('strict')
        ? bearerAuth({ issuerBaseURL: issuer, audience: AUDIENCE, strict: true, tokenSigningAlg: 'EdDSA' })
        : (verifiers[name]?.(issuer) ?? expect.unreachable())
    const [status] = await statusesBy(make, ed25519)

    // jsonwebtoken 9 has no EdDSA: whatever its callers make of that, they let nobody in.
    if (expected === 200) expect(status).toBe(200)
    else expect(status).not.toBe(200)
  })

  it.each([
    ['EdDSA', ed25519, true],
    ['HS256', hs256, false],
  ])('%s and oauth4webapi', async (_, options, isVerified) => {
    const { url, signIn } = await statefulSite({ store: new InProcessStore(), ...options })
    const insecure = { [oauth.allowInsecureRequests]: true }
    const issuer = new URL(`${url}/auth`)
    const found = await oauth.discoveryRequest(issuer, { algorithm: 'oidc', ...insecure })
    const server = await oauth.processDiscoveryResponse(issuer, found)
    const { access_token: token } = await signIn('ann')
    const request = new Request('http://127.0.0.1/orders', bearer(token))
    const claims = oauth.validateJwtAccessToken(server, request, AUDIENCE, insecure)

    if (isVerified) expect(await claims).toMatchObject({ sub: 'ann' })
    else await expect(claims).rejects.toThrow()
  })

  it.each([
    ['EdDSA', ed25519, false],
    ['HS256', hs256, true],
  ])('%s and getClaims of auth-js', async (_, options, isVerified) => {
    const { url } = await statefulSite({ store: new InProcessStore(), ...options })
    const client = new AuthClient({ url: `${url}/auth`, autoRefreshToken: false, persistSession: false })
    const { data } = await client.signInWithPassword({ email: 'ann', password: PASSWORD })
    const claims = client.getClaims(data.session?.access_token)

    if (isVerified) expect((await claims).data?.claims.sub).toBe('ann')
    else await expect(claims).rejects.toThrow()
  })
})
