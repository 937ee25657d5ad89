import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import { expressjwt } from 'express-jwt'
import { expressJwtSecret, passportJwtSecret } from 'jwks-rsa'
import passport from 'passport'
import { ExtractJwt, Strategy } from 'passport-jwt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { AUDIENCE, bearer, statefulSite } from './auth-site.ts'

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
