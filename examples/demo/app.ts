import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import express, { type Express, type NextFunction, type Request, type Response } from 'express'
import session from 'express-session'
import { type ActiveSession, type SessionStore, SessionStoreError } from 'express-session-valkey'
import type { Html } from './html.ts'
import { homePage, MAX_NAME_LENGTH, noticePage, signInPage } from './page.ts'

declare module 'express-session' {
  interface SessionData {
    userId?: string
    count?: number
    signedInAtMs?: number
  }
}

export interface DemoOptions {
  readonly store: SessionStore
  /** Signs the cookie. */
  readonly cookieSecret: string
  /** Where the store keeps sessions, in words for the page. */
  readonly place: string
  /** How long the slow request takes. */
  readonly slowMs?: number
}

const COOKIE = 'demo.sid'
const COOKIE_ATTRIBUTES = { httpOnly: true, sameSite: 'lax' } as const
const PUBLIC = fileURLToPath(new URL('public', import.meta.url))

export function createApp(options: DemoOptions): Express {
  const app = express()
  app.disable('x-powered-by')
  app.use(setSecurityHeaders)
  app.use(express.static(PUBLIC, { index: false }))
  app.use(refuseForeignForms)
  app.use(
    session({
      store: options.store,
      secret: options.cookieSecret,
      name: COOKIE,
      resave: false,
      saveUninitialized: false,
      cookie: COOKIE_ATTRIBUTES,
    }),
  )
  app.use(express.urlencoded({ extended: false, limit: '4kb' }))
  addSignInAndOut(app, options)
  addDevices(app, options)
  addCounter(app, options)
  app.use((_req, res) => send(res.status(404), noticePage('Not found', 'There is no page at this address.')))
  app.use(answerError)
  return app
}

function addSignInAndOut(app: Express, { place }: DemoOptions): void {
  app.post('/sign-in', async (req, res) => {
    const name = nameIn(req.body)
    const problem = problemWith(name)
    if (problem) return send(res.status(400), signInPage(place, { name, problem }))
    // A new id for a new level of trust: whoever planted the old cookie does not share the signed-in session.
    await done((callback) => req.session.regenerate(callback))
    Object.assign(req.session, { userId: name, count: 0, signedInAtMs: Date.now() })
    await saveAndGoHome(req, res)
  })

  app.post('/sign-out', async (req, res) => {
    await done((callback) => req.session.destroy(callback))
    res.clearCookie(COOKIE, COOKIE_ATTRIBUTES).redirect(303, '/')
  })
}

function addDevices(app: Express, { store }: DemoOptions): void {
  app.post('/devices/:handle/end', async (req, res) => {
    const { userId } = req.session
    const sessions = userId === undefined ? [] : await store.registry.list(userId)
    // Only one's own: a handle is no secret.
    const isOwn = sessions.some(({ handle }) => handle === req.params.handle)
    if (isOwn)
      await store.registry.end(
        { handle: req.params.handle },
        { reason: 'ended-by-user', actor: { type: 'user' } },
      )
    res.redirect(303, '/')
  })

  app.post('/sign-out-elsewhere', async (req, res) => {
    const { userId } = req.session
    const terms = { except: { sid: req.sessionID }, reason: 'signed-out-elsewhere', actor: { type: 'user' } }
    if (userId !== undefined) await store.registry.endAll(userId, terms)
    res.redirect(303, '/')
  })
}

function addCounter(app: Express, { store, place, slowMs = 5000 }: DemoOptions): void {
  app.get('/', async (req, res) => {
    const { userId: name, count = 0, signedInAtMs = 0 } = req.session
    if (name === undefined) return send(res, signInPage(place))
    const handle = store.handle(req.sessionID)
    const signedInAt = new Date(signedInAtMs)
    const listed = await store.registry.list(name, { current: { sid: req.sessionID } })
    const sessions = listed.filter((session): session is ActiveSession => session.status === 'active')
    send(res, homePage({ name, count, signedInAt, handle, sessions, place, slowSeconds: slowMs / 1000 }))
  })

  app.post('/count', async (req, res) => {
    count(req)
    await saveAndGoHome(req, res)
  })

  app.post('/count-slowly', async (req, res) => {
    count(req)
    await delay(slowMs)
    await saveAndGoHome(req, res)
  })
}

function count(req: Request): void {
  if (req.session.userId !== undefined) req.session.count = (req.session.count ?? 0) + 1
}

// The browser must not follow the redirect before the session stands.
async function saveAndGoHome(req: Request, res: Response): Promise<void> {
  if (req.session.userId !== undefined) await done((callback) => req.session.save(callback))
  res.redirect(303, '/')
}

function done(start: (callback: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())))
}

function nameIn(body: unknown): string {
  const name: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'name') : undefined
  return typeof name === 'string' ? name.trim() : ''
}

function problemWith(name: string): string | undefined {
  if (name === '') return 'Please enter a name.'
  return name.length > MAX_NAME_LENGTH ? `Please enter at most ${MAX_NAME_LENGTH} characters.` : undefined
}

function send(res: Response, page: Html): void {
  res.set('Cache-Control', 'no-store').type('html').send(page.toString())
}

function setSecurityHeaders(_req: Request, res: Response, next: NextFunction): void {
  res.set({
    'Content-Security-Policy':
      "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Referrer-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
  })
  next()
}

// SameSite cookies do not tell two ports of one host apart; this header does.
function refuseForeignForms(req: Request, res: Response, next: NextFunction): void {
  const isRead = req.method === 'GET' || req.method === 'HEAD'
  const isOwn = ['same-origin', 'none'].includes(req.get('Sec-Fetch-Site') ?? 'none')
  if (isRead || isOwn) next()
  else send(res.status(403), noticePage('Not from here', 'Another site sent this form; nothing was done.'))
}

function answerError(error: unknown, _req: Request, res: Response, next: NextFunction): void {
  // express-session reports a save that fails at the end of a response here too; that response is complete.
  if (res.writableEnded) return
  if (res.headersSent) {
    next(error)
    return
  }
  const status = statusOf(error)
  if (status >= 500) console.error(error instanceof SessionStoreError ? error.message : error)
  if (error instanceof SessionStoreError) res.set(error.headers)
  send(res.status(status), noticePage(...wordsFor(status)))
}

function wordsFor(status: number): [title: string, text: string] {
  if (status === 401)
    return ['You have signed out', 'The session ended while this request ran. Nothing was saved.']
  if (status === 503)
    return ['Back in a moment', 'Sessions cannot be reached. Nobody was signed out; try again.']
  if (status < 500) return ['That did not work', 'The request was not one that this page sends.']
  return ['Something broke', 'The terminal that runs the demo shows what.']
}

function statusOf(error: unknown): number {
  const status: unknown =
    typeof error === 'object' && error !== null ? Reflect.get(error, 'status') : undefined
  return typeof status === 'number' && status >= 400 && status < 600 ? status : 500
}
