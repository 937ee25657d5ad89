// One Express app with one store, in a process of its own. Started by app.ts.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import express from 'express'
import session, { type SessionData } from 'express-session'
import { type SessionStore, sessionGuard } from 'express-session-valkey'
import { type CandidateName, openCandidate, type Place } from './candidates.ts'
import { contentOf } from './content.ts'
import { serve, startedWith } from './subject.ts'

export interface AppArgs {
  readonly candidate: CandidateName
  readonly place: Place
  readonly isGuarded: boolean
}

export type AppTask = 'port' | 'usage' | 'memory'

export interface AppMemory {
  readonly heapBytes: number
  readonly rssBytes: number
  /** Sockets, timers and what else keeps a process up. */
  readonly handles: number
}

/** As many users sign in, each again and again. */
const USERS = 97
const SESSION_BYTES = 560

const { candidate, place, isGuarded } = startedWith<AppArgs>()
const { store } = await openCandidate(candidate, place)
const app = express()
app.use(
  session({
    store,
    secret: 'of the cookie',
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 86_400_000, sameSite: 'lax' },
  }),
)
if (isGuarded) app.use(sessionGuard({ store: store as unknown as SessionStore }))

app.get('/begin', (req, res) => {
  Object.assign(req.session, contentOf(1, SESSION_BYTES))
  res.send('begun')
})
app.get('/read', (req, res) => {
  const { visits } = req.session as SessionData & { visits?: number }
  if (visits === undefined) res.status(410).send('The session is gone')
  else res.json({ visits })
})
app.get('/write', (req, res) => {
  const held = req.session as unknown as { visits: number }
  held.visits += 1
  res.json({ visits: held.visits })
})
let logins = 0
app.post('/login', (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error)
    logins += 1
    Object.assign(req.session, { ...contentOf(1, SESSION_BYTES), userId: `user-${logins % USERS}` })
    res.json({ signedIn: true })
  })
})

const server = createServer(app).listen(0, '127.0.0.1')
await once(server, 'listening')

serve<AppTask>(async (task) => {
  if (task === 'port') return (server.address() as AddressInfo).port
  if (task === 'memory') return memory()
  const { user, system } = process.cpuUsage()
  return user + system
})

async function memory(): Promise<AppMemory> {
  // Twice: what a first collection finalizes, only a second frees.
  for (let time = 0; time < 2; time += 1) {
    global.gc?.()
    await delay(50)
  }
  const { heapUsed: heapBytes, rss: rssBytes } = process.memoryUsage()
  return { heapBytes, rssBytes, handles: process.getActiveResourcesInfo().length }
}
