// An app whose users are documents of Mongoose, kept in memory: their ids are all that sessions see.
import express, { type Request } from 'express'
import session from 'express-session'
import { InProcessStore, sessionGuard } from 'express-session-valkey'
import { Passport } from 'passport'
import { signIn, signOutEverywhere, User } from './page.ts'

const { PORT = '' } = process.env
const store = new InProcessStore()
const users = new Map(['ann', 'ben', 'cat'].map((name) => [name, new User({ name })]))
const passport = new Passport()
passport.serializeUser((user, done) => done(null, (user as InstanceType<typeof User>)._id))
passport.deserializeUser((id: string, done) => {
  done(
    null,
    [...users.values()].find((user) => user._id.equals(id)),
  )
})

const app = express()
app.use(session({ store, secret: 'of the test', resave: false, saveUninitialized: false }))
app.use(sessionGuard({ store }), passport.initialize(), passport.session())
app.param('user', (req, _res, next, name: string) => {
  Object.assign(req, { document: users.get(name) })
  next()
})
const documentOf = (req: Request) => (req as unknown as { document: InstanceType<typeof User> }).document

app.post('/text/:user', (req, res) => {
  signIn(req, documentOf(req))
  res.send('')
})
app.post('/object-id/:user', (req, res) => {
  Object.assign(req.session, { userId: documentOf(req)._id })
  res.send('')
})
app.post('/passport/:user', (req, res, next) => {
  req.login(documentOf(req), (error) => (error ? next(error) : res.send('')))
})
app.get('/', (req, res) => {
  const { userId, passport: kept } = req.session as { userId?: string; passport?: { user?: string } }
  const id = userId ?? kept?.user
  const user = [...users.values()].find(({ _id }) => id !== undefined && _id.equals(id))
  res.json({ type: typeof id, name: user?.name ?? null })
})
app.get('/devices/:user', async (req, res) => {
  res.json(await store.registry.count(documentOf(req).id))
})
app.post('/sign-out-everywhere/:user', async (req, res) => {
  await signOutEverywhere(store, documentOf(req))
  res.send('')
})
app.post('/by-object-id/:user', async (req, res) => {
  const { ended } = await store.registry.endAll(documentOf(req)._id as unknown as string)
  res.json(ended.length)
})
app.listen(Number(PORT), '127.0.0.1', () => console.log(`Listening on http://127.0.0.1:${PORT}`))
