import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import express, { type Express, type NextFunction, type Request, type Response, type Router } from 'express'
import session from 'express-session'
import { SessionStoreError, sessionGuard } from 'express-session-valkey'
import { COOKIE, type Demo, signedInUser } from './demo.ts'
import { html } from './html.ts'
import { notice, page } from './page.ts'
import { admin } from './rooms/admin.ts'
import { devices } from './rooms/devices.ts'
import { home } from './rooms/home.ts'
import { liveChannel } from './rooms/live-channel.ts'
import { numbers } from './rooms/numbers.ts'
import { outageLab } from './rooms/outage-lab.ts'
import { raceLab } from './rooms/race-lab.ts'
import { signIn } from './rooms/sign-in.ts'
import { storedBytes } from './rooms/stored-bytes.ts'
import { taintLab } from './rooms/taint-lab.ts'
import { tokens } from './rooms/tokens.ts'
import { rootOf, SLOTS } from './slots.ts'

const PUBLIC = fileURLToPath(new URL('public', import.meta.url))
const DOCS = fileURLToPath(new URL('../../docs', import.meta.url))
const FONT = '@fontsource-variable/instrument-sans/files/instrument-sans-latin-wght-normal.woff2'

/** The demo as an Express app; `cookieSecret` signs the cookies. */
export function createApp(demo: Demo, cookieSecret: string): Express {
  const app = express()
  app.disable('x-powered-by')
  app.locals['place'] = placeOf(demo)
  app.use(setSecurityHeaders)
  app.use(express.static(PUBLIC, { index: false }))
  // Where a page names no icon of its own, as the docs do not.
  app.get('/favicon.ico', (_req, res) => res.sendFile(`${PUBLIC}/icon.svg`))
  app.get('/text.woff2', (_req, res) => res.sendFile(createRequire(import.meta.url).resolve(FONT)))
  app.use(refuseForeignForms)
  app.use('/docs', express.static(DOCS, { index: false, setHeaders: showAsText }))
  app.use('/auth', demo.auth)
  app.use(noStore, express.urlencoded({ extended: false, limit: '8kb' }))
  for (const slot of Object.keys(SLOTS))
    app.get(new RegExp(`^/${slot}$`), (_req, res) => res.redirect(`/${slot}/`))
  const rooms = [sessionOf(demo, cookieSecret), sessionGuard({ store: demo.store }), roomsOf(demo)]
  app.use(
    Object.keys(SLOTS).map((slot) => `/${slot}`),
    rooms,
  )
  // An address without a device is one of the first: 307 keeps the method and what is sent.
  app.use((req, res) => res.redirect(307, `/1${req.originalUrl}`))
  app.use(answerError)
  return app
}

function roomsOf(demo: Demo): Router {
  const rooms = express.Router()
  rooms.use((request, response, next) => {
    response.locals['user'] = signedInUser(demo, request)
    next()
  })
  rooms.use(home(demo))
  rooms.use(signIn(demo))
  rooms.use(liveChannel(demo))
  rooms.use('/devices', devices(demo))
  rooms.use('/admin', admin(demo))
  rooms.use('/race-lab', raceLab(demo))
  rooms.use('/outage-lab', outageLab(demo))
  rooms.use('/taint-lab', taintLab(demo))
  rooms.use('/stored-bytes', storedBytes(demo))
  rooms.use('/tokens', tokens(demo))
  rooms.use('/numbers', numbers(demo))
  rooms.use((request, response) => {
    const body = notice('Not found', 'There is no page at this address.')
    response.status(404).send(page(request, { title: 'Not found', body }))
  })
  return rooms
}

function sessionOf({ store }: Demo, secret: string) {
  return session({
    store,
    secret,
    name: COOKIE,
    resave: false,
    saveUninitialized: false,
    cookie: (request) => ({ httpOnly: true, sameSite: 'lax', path: rootOf(request) }),
  })
}

function placeOf({ valkeyUrl, valkey }: Demo): string {
  if (valkeyUrl === undefined) return 'in this process, and end with it'
  const where = new URL(valkeyUrl).host
  return valkey ? `on a Valkey that the demo started (${where})` : `on Valkey at ${where}`
}

// Markdown is what the docs are written in; a browser would offer to save it.
function showAsText(res: Response, path: string): void {
  if (path.endsWith('.md')) res.type('text/plain')
}

function setSecurityHeaders(_req: Request, res: Response, next: NextFunction): void {
  res.set({
    'Content-Security-Policy': [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      "font-src 'self'",
      "connect-src 'self'",
      "form-action 'self'",
      "base-uri 'self'",
      "frame-ancestors 'none'",
    ].join('; '),
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Referrer-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
  })
  next()
}

function noStore(_req: Request, res: Response, next: NextFunction): void {
  res.set('Cache-Control', 'no-store')
  next()
}

// SameSite cookies do not tell two ports of one host apart; this header does.
function refuseForeignForms(req: Request, res: Response, next: NextFunction): void {
  const isRead = req.method === 'GET' || req.method === 'HEAD'
  const isOwn = ['same-origin', 'none'].includes(req.get('Sec-Fetch-Site') ?? 'none')
  if (isRead || isOwn) {
    next()
    return
  }
  const body = notice('Not from here', 'Another site sent this form; nothing was done.')
  res.status(403).send(page(req, { title: 'Not from here', body }))
}

function answerError(error: unknown, req: Request, res: Response, next: NextFunction): void {
  // express-session reports a save that fails at the end of a response here too; that response is complete.
  if (res.writableEnded) return
  if (res.headersSent) {
    next(error)
    return
  }
  const status = statusOf(error)
  if (status >= 500) console.error(error instanceof SessionStoreError ? error.message : error)
  if (error instanceof SessionStoreError) res.set(error.headers)
  // Who this is could not be asked; nobody was signed out.
  res.locals['isUnknown'] = status === 503
  const [title, text] = wordsFor(status)
  const again = req.method === 'GET' ? req.originalUrl : rootOf(req)
  const actions = html`<a class="button primary" href="${again}">Try again</a>`
  res.status(status).send(page(req, { title, body: notice(title, text, actions) }))
}

function wordsFor(status: number): [title: string, text: string] {
  if (status === 401)
    return ['You have signed out', 'The session ended while this request ran. Nothing was saved.']
  if (status === 503)
    return [
      'Back in a moment',
      'Sessions cannot be reached right now. Nobody was signed out, and nothing was lost: your cookie stays as it is.',
    ]
  if (status < 500) return ['That did not work', 'The request was not one that this page sends.']
  return ['Something broke', 'The terminal that runs the demo shows what.']
}

function statusOf(error: unknown): number {
  const status: unknown =
    typeof error === 'object' && error !== null ? Reflect.get(error, 'status') : undefined
  return typeof status === 'number' && status >= 400 && status < 600 ? status : 500
}
