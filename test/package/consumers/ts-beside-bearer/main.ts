import type { Express } from 'express'
// Declares an `auth` of every request, of another type than ours.
import type { AuthResult } from 'express-oauth2-jwt-bearer'
import type { AuthorizedRequest, StatefulAuthRouter } from 'express-session-valkey/auth'

export function mount(app: Express, auth: StatefulAuthRouter): void {
  app.use('/auth', auth)
  app.get('/orders', auth.requireAuth({ live: true }), (req, res) => {
    const { auth: authorization } = req as unknown as AuthorizedRequest
    res.json(authorization?.userId)
  })
  app.get('/elsewhere', (req, res) => {
    res.json((req.auth satisfies AuthResult | undefined)?.payload.sub)
  })
}

process.stdout.write('hello')
