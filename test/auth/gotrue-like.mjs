// A server that behaves as GoTrue does towards one client, in a process of its own. Its parent sends { faults } and { ask }.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'

const USER = {
  id: '6f1c',
  email: 'ann@app.example',
  role: 'authenticated',
  app_metadata: { provider: 'email' },
}
const PASSWORD = 'right'

/** Sessions by id: the active refresh token and its parent. */
const sessions = new Map()
const seen = []
let faults = {}
let isBanned = false

function send(res, status, body, headers = {}) {
  res.writeHead(status, { 'content-type': 'application/json', ...headers })
  res.end(typeof body === 'string' ? body : JSON.stringify(body))
}

/** The three forms of errors that GoTrue has had. */
function refuse(res, status, word) {
  const form = faults.form ?? 'new'
  if (form === 'header') return send(res, status, { message: 'No' }, { 'x-sb-error-code': word })
  if (form === 'new') return send(res, status, { code: word, message: 'No' })
  if (form === 'old') return send(res, status, { code: status, error_code: word, msg: 'No' })
  return send(res, status, { error: 'invalid_grant', error_description: 'No' })
}

function grant(res, id, session) {
  session.parent = session.active
  session.active = randomBytes(12).toString('base64url')
  session.access = `at-${id}-${randomBytes(6).toString('hex')}`
  answer(res, session)
}

function answer(res, { active, access }) {
  send(res, 200, {
    access_token: access,
    token_type: 'bearer',
    expires_in: 3600,
    refresh_token: active,
    user: USER,
  })
}

function token(res, grantType, body) {
  if (grantType === 'password') {
    if (isBanned) return refuse(res, 400, 'user_banned')
    if (body.email !== USER.email || body.password !== PASSWORD)
      return refuse(res, 400, 'invalid_credentials')
    const id = randomBytes(6).toString('hex')
    const session = {}
    sessions.set(id, session)
    return grant(res, id, session)
  }
  for (const [id, session] of sessions) {
    if (session.active === body.refresh_token && isBanned) return refuse(res, 400, 'user_banned')
    if (session.active === body.refresh_token) return grant(res, id, session)
    // Whoever presents the parent of the active token gets the active one.
    if (session.parent === body.refresh_token) return answer(res, session)
  }
  return refuse(res, 400, 'refresh_token_not_found')
}

function logout(res, scope, access) {
  const found = [...sessions].find(([, session]) => session.access === access)
  if (found === undefined) return refuse(res, 403, 'bad_jwt')
  for (const id of sessions.keys()) {
    const isOwn = id === found[0]
    if (scope === 'global' || (scope === 'local') === isOwn) sessions.delete(id)
  }
  res.writeHead(204).end()
}

const server = createServer(async (req, res) => {
  let text = ''
  for await (const chunk of req) text += chunk
  const url = new URL(req.url, 'http://upstream')
  const route = `${url.pathname}?${url.searchParams}`
  seen.push({ route, apikey: req.headers.apikey, version: req.headers['x-supabase-api-version'], body: text })
  if (faults.status) return send(res, faults.status, faults.body ?? {}, faults.headers)
  if (faults.garbage) return send(res, 200, faults.garbage)
  if (faults.endless) {
    res.setMaxListeners(0)
    res.writeHead(200, { 'content-type': 'application/json' })
    while (!res.destroyed)
      if (!res.write('x'.repeat(65536))) await new Promise((go) => res.once('drain', go).once('close', go))
    return
  }
  if (faults.redirect) return res.writeHead(307, { location: '/token?grant_type=password' }).end()
  if (faults.cut) return res.writeHead(200, { 'content-length': 999 }).write('{"access', () => res.destroy())
  if (faults.delayMs) await new Promise((go) => setTimeout(go, faults.delayMs))
  const bearer = req.headers.authorization?.replace('Bearer ', '')
  if (url.pathname === '/token') return token(res, url.searchParams.get('grant_type'), JSON.parse(text))
  if (url.pathname === '/logout') return logout(res, url.searchParams.get('scope'), bearer)
  return send(res, 404, { code: 404, msg: 'no such route' })
})

process.on('message', (message) => {
  if (message.faults) faults = message.faults
  if (message.ban !== undefined) isBanned = message.ban
  process.send({ seen: message.ask ? seen.splice(0) : [], sessions: [...sessions.values()] })
})
process.on('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
