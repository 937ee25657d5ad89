import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { createAuthRouter } from '../../lib/auth/index.ts'
import { InProcessStore } from '../../lib/index.ts'

test('a sign-in that ends after another middleware has replied sends nothing and throws nothing', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const replied = deferred()
  const auth = createAuthRouter({
    issuer: 'https://app.example/auth',
    audience: 'https://app.example',
    keys: [privateKey],
    authenticate: async () => {
      await replied.promise
      return { user: { id: 'alice' } }
    },
    store: new InProcessStore(),
  })
  const settled = deferred()
  const server = createServer((req, res) => {
    // A spy on what would throw: with its headers sent, setHeader does.
    const setHeader = res.setHeader.bind(res)
    res.setHeader = (name, value) => {
      if (res.headersSent) settled.reject(new Error(`${name} after the reply`))
      return res.headersSent ? res : setHeader(name, value)
    }
    const end = res.end.bind(res)
    auth(req, res, () => undefined)
    setImmediate(() => {
      res.statusCode = 503
      end('late')
      replied.resolve()
      setTimeout(settled.resolve, 300)
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const reply = await fetch(`http://127.0.0.1:${port}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ grant_type: 'password', username: 'alice', password: 'x' }),
  })
  expect(reply.status).toBe(503)
  await settled.promise
  await new Promise((resolve) => void server.close(resolve))
})

function deferred() {
  let resolve = (): void => undefined
  let reject = (_error: Error): void => undefined
  const promise = new Promise<void>((fulfil, refuse) => {
    resolve = fulfil
    reject = refuse
  })
  return { promise, resolve, reject }
}
