import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express'
import session, { type Store } from 'express-session'
import { COOKIE_SECRET, contentOf, destroy, handled, regenerate } from '../store/app.ts'

export interface OutageAppParts {
  readonly store: Store
  /** The guard, where there is one. */
  readonly guard: RequestHandler | undefined
  /** Told of every failure that reaches the app. */
  readonly onError: (error: unknown) => void
}

/** A small app as users of the package write them. */
export function outageApp({ store, guard, onError }: OutageAppParts): Express {
  const app = express()
  app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
  if (guard) app.use(guard)
  app.get('/content', (req, res) => {
    const { cookie: _, ...content } = contentOf(req)
    res.json(content)
  })
  app.post('/note', (req, res) => {
    contentOf(req)['note'] = 'kept'
    res.json({})
  })
  app.post(
    '/sign-in/:user',
    handled(async (req, res) => {
      await regenerate(req)
      contentOf(req)['user'] = req.params['user']
      res.json({})
    }),
  )
  app.post(
    '/sign-out',
    handled(async (req, res) => {
      await destroy(req)
      res.json({})
    }),
  )
  app.use(answerErrors(onError))
  return app
}

// Express knows a handler of errors by its four parameters.
function answerErrors(onError: (error: unknown) => void): ErrorRequestHandler {
  return (error, _req, res, _next) => {
    onError(error)
    // Without a guard express-session tells of a failed save when its answer is under way.
    if (!res.headersSent) res.status(error.status ?? 500).json({})
  }
}
