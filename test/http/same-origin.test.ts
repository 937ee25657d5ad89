import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { isSameOrigin } from '../../lib/http/same-origin.ts'

// Node takes the socket away from a request whose client has left; when it does is luck, so it is done by hand.
test.each([
  ['http://app.example', true],
  ['https://app.example', false],
])('the origin %s of a request that has lost its socket is judged: %s', (origin, isSame) => {
  const req = new IncomingMessage(new Socket())
  Object.assign(req.headers, { host: 'app.example', origin })
  const app = { get: () => (address: string | undefined) => address === '127.0.0.1' }
  Object.assign(req, { app, socket: null })

  expect(isSameOrigin(req)).toBe(isSame)
})
