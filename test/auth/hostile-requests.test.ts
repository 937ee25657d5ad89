import { connect } from 'node:net'
import express from 'express'
import { describe, expect, test } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { authenticate, PASSWORD, statefulSite } from './auth-site.ts'

const FORM = 'application/x-www-form-urlencoded'
const signIn = `grant_type=password&username=alice&password=${encodeURIComponent(PASSWORD)}`

const site = (options = {}) => statefulSite({ store: new InProcessStore(), ...options })
const post = (body: string, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  body,
  headers: { 'content-type': FORM, ...headers },
})
const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })

describe('A parameter that is there twice', () => {
  // RFC 6749 §3.2: parameters MUST NOT be included more than once.
  test.each([
    ['in a form', '/auth/token', `${signIn}&password=other`],
    ['in a form, the same both times', '/auth/token', `${signIn}&username=alice`],
    ['in a form, one of them empty', '/auth/token', `username=&username=bob&username=alice&${signIn}`],
    ['as grant_type in a form', '/auth/token', `${signIn}&grant_type=password`],
    ['as grant_type in the query', '/auth/token?grant_type=password&grant_type=password', signIn],
    ['as grant_type in both, another', '/auth/token?grant_type=refresh_token', signIn],
    ['as client in a form and by Basic', '/auth/token', `${signIn}&client_id=phone`],
    ['as the token to revoke', '/auth/revoke', 'token=a&token=b'],
    ['as scope of a sign-out', '/auth/logout?scope=others&scope=global', ''],
  ])('%s is 400, and nothing is done', async (_, path, body) => {
    const { send, auth } = await site({ clients: ['first-party', 'phone'] })
    const { status, body: reply } = await send(path, post(body, basic('first-party:x')))

    expect([status, reply]).toEqual([400, expect.objectContaining({ error: 'invalid_request' })])
    expect(await auth.registry.count('alice')).toBe(0)
  })

  test.each([false, true])('is also noticed behind body parsers (%s)', async (parsers) => {
    const { send } = await site({ parsers })

    expect((await send('/auth/token', post(`${signIn}&password=other`))).status).toBe(400)
  })
})

describe('A name that JavaScript knows', () => {
  test.each([false, true])(
    'is a parameter like any unknown one, behind parsers too (%s)',
    async (parsers) => {
      const { send } = await site({ parsers })
      const hostile =
        '__proto__=x&constructor=y&prototype=z&__proto__[polluted]=1&hasOwnProperty=1&toString=2'
      const nested = { __proto__: null, constructor: { prototype: { polluted: 1 } } }
      const json = JSON.stringify({
        grant_type: 'password',
        username: 'alice',
        password: PASSWORD,
        ...nested,
      })

      expect((await send('/auth/token', post(`${hostile}&${signIn}`))).status).toBe(200)
      expect((await send('/auth/token', post(json, { 'content-type': 'application/json' }))).status).toBe(200)
      expect(Object.prototype).not.toHaveProperty('polluted')
    },
  )

  test('is no grant, no client and no route', async () => {
    const { send } = await site()
    for (const name of ['__proto__', 'constructor', 'toString']) {
      const grant = signIn.replace('grant_type=password', `grant_type=${name}`)
      expect(await send('/auth/token', post(grant))).toMatchObject({
        status: 400,
        body: { error: 'unsupported_grant_type' },
      })
      expect(await send('/auth/token', post(`${signIn}&client_id=${name}`))).toMatchObject({
        status: 400,
        body: { error: 'invalid_client' },
      })
      expect((await send(`/auth/${name}`)).status).toBe(418)
    }
  })
})

describe('A client that names itself by Basic', () => {
  test.each([
    ['with a secret, of which there is none', 'first-party:secret', 200],
    ['encoded as in a form', 'first%2Dparty:', 200],
    ['without a colon', 'first-party', 200],
    ['as somebody else', 'evil:secret', 401],
    ['as nobody', ':secret', 401],
    ['with another name hidden behind it', 'first-party&x=1:secret', 401],
  ])('%s', async (_, text, expected) => {
    const { send } = await site()
    const { status, headers } = await send('/auth/token', post(signIn, basic(text)))

    expect(status).toBe(expected)
    expect(headers.get('www-authenticate')).toBe(expected === 401 ? 'Basic' : null)
  })

  test('in a form that is none is refused, not taken for the first client', async () => {
    const { send } = await site()
    for (const authorization of ['Basic', 'Basic !!!', 'Basic a b'])
      expect((await send('/auth/token', post(signIn, { authorization }))).status).toBe(401)
  })
})

describe('A body', () => {
  test('of a gigabyte is refused before it is read', async () => {
    const { url } = await site()
    let sent = 0
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let reply = ''
    socket.on('data', (chunk) => {
      reply += chunk.toString()
    })
    socket.on('error', () => undefined)
    socket.write(
      `POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-type: ${FORM}\r\ncontent-length: 1000000000\r\n\r\n`,
    )
    const feed = setInterval(() => {
      sent += 16_384
      if (reply === '') socket.write('a'.repeat(16_384))
    }, 5)
    await until(() => reply.includes('invalid_request'))
    clearInterval(feed)
    socket.destroy()

    expect(reply).toMatch(/^HTTP\/1\.1 400 /)
    expect(sent).toBeLessThan(100_000_000)
  })

  test('that is cut off is nobody’s failure', async () => {
    const failures: unknown[] = []
    const asked: unknown[] = []
    const { url, send } = await site({
      onError: (error: unknown) => failures.push(error),
      authenticate: async () => void asked.push(1),
    })
    const port = Number(new URL(url).port)
    for (let round = 0; round < 5; round += 1) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write(
        `POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-type: ${FORM}\r\ncontent-length: 999\r\n\r\n${signIn}`,
      )
      await until(() => socket.bytesWritten > 100)
      socket.destroy()
    }
    // The server serves others after it, and by then has noticed.
    expect((await send('/auth/token', post(signIn))).status).toBe(400)
    expect([failures, asked.length]).toEqual([[], 1])
  })

  test('of another type, charset or encoding is refused', async () => {
    const { send } = await site()
    const types = [
      'multipart/form-data; boundary=x',
      'text/plain',
      'application/xml',
      'application/jsonp',
      '',
    ]

    for (const type of types)
      expect([type, (await send('/auth/token', post(signIn, { 'content-type': type }))).status]).toEqual([
        type,
        400,
      ])
    expect((await send('/auth/token', post('\u0000\u0001', { 'content-encoding': 'gzip' }))).status).toBe(400)
  })
})

describe('A page of another origin', () => {
  const preflight = {
    method: 'OPTIONS',
    headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
  }

  test('is allowed nothing by the router itself', async () => {
    const { send } = await site()
    for (const path of ['/auth/token', '/auth/logout', '/auth/user']) {
      const { status, headers } = await send(path, preflight)
      expect([status, headers.get('access-control-allow-origin')]).toEqual([405, null])
    }
    const { headers } = await send('/auth/token', post(signIn, { origin: 'https://evil.example' }))
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })

  test('is allowed what a CORS middleware in front of the router says', async () => {
    const make = Object.assign(() => {
      const app = express()
      app.use((req, res, next) => {
        res.setHeader('access-control-allow-origin', 'https://web.example')
        res.setHeader('access-control-allow-headers', 'authorization, content-type, apikey, x-client-info')
        if (req.method === 'OPTIONS') res.sendStatus(204)
        else next()
      })
      return app
    }, express)
    const { send } = await site({ make })
    const reply = await send('/auth/token', post(signIn, { origin: 'https://web.example' }))

    expect((await send('/auth/token', preflight)).status).toBe(204)
    expect([reply.status, reply.headers.get('access-control-allow-origin')]).toEqual([
      200,
      'https://web.example',
    ])
    expect(reply.headers.get('cache-control')).toBe('no-store')
  })
})

test('A header that is not ASCII, or comes twice, opens nothing', async () => {
  const { send, url } = await site({ authenticate })
  const { port } = new URL(url)
  expect((await send('/orders', { headers: { authorization: 'Bearer \u00fc' } })).status).toBe(401)
  const reply = await new Promise<string>((resolve) => {
    const socket = connect(Number(port), '127.0.0.1')
    socket.once('data', (chunk) => {
      resolve(chunk.toString())
      socket.destroy()
    })
    socket.write('GET /orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a.b.c\r\nauthorization: x\r\n\r\n')
  })
  expect(reply).toMatch(/^HTTP\/1\.1 401 /)
})
