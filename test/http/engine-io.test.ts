import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import session from 'express-session'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { expect, test } from 'vitest'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { COOKIE_SECRET } from '../store/app.ts'

test.each([['websocket'], ['polling']])(
  'a Socket.IO client that uses %s connects behind the guard',
  async (transport) => {
    const store = new InProcessStore()
    const server = createServer()
    const sockets = new Server(server)
    sockets.engine.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
    sockets.engine.use(sessionGuard({ store }))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client = io(`http://127.0.0.1:${port}`, { transports: [transport], reconnection: false })

    const outcome = await new Promise((resolve) => {
      client.once('connect', () => resolve('connected'))
      client.once('connect_error', resolve)
    })
    client.close()
    await sockets.close()

    expect(outcome).toBe('connected')
  },
)
