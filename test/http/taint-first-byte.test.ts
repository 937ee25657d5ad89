import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { placeOf } from '../../lib/labels/label.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { type Observed, openValkey } from '../labels/subjects.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { askRaw, askRawHttp2 } from './raw-exchange.ts'
import { answerHttp2, CANARY, HTTP2, mountPaths, type Path, paths, routeOf } from './taint-paths.ts'
import { createTaintApp, type Site, serve, serveHttp2, Visitor } from './taint-site.ts'

const DELAY_MS = 300
const TIMES = 25

let server: ValkeyServer
let proxy: FaultProxy
let labels: Observed
let admin: Redis
let site: Site
let http2Site: Site

const sessions = new InProcessStore()
const http2Path: Path = { name: HTTP2, answer: () => {} }

beforeAll(async () => {
  server = await startValkey()
  proxy = await startFaultProxy(server)
  labels = openValkey(proxy.url)
  admin = server.client()
  site = await serve(createTaintApp({ labels: labels.store, sessions, isGuarded: false, routes: mountPaths }))
  http2Site = await serveHttp2({ labels: labels.store, sessions }, answerHttp2)
})

afterAll(async () => {
  await site?.close()
  await http2Site?.close()
  await labels?.store.close()
  await proxy?.stop()
  await server?.stop()
})

async function standsAtFirstByte(path: Path): Promise<boolean> {
  const visitor = new Visitor(site)
  await visitor.post('/begin')
  const { key } = placeOf('taint:v1', visitor.sid)
  const [ask, { port }] = path === http2Path ? [askRawHttp2, http2Site] : [askRaw, site]
  const { text, atFirstByte } = await ask({
    port,
    path: routeOf(path.name),
    method: path.method,
    headers: path.headers,
    cookie: visitor.cookie,
    look: () => admin.sismember(key, 'pii'),
  })
  // Otherwise nothing was put to the test.
  expect(text).toContain(CANARY)
  return atFirstByte === 1
}

describe(`with every command on its way for ${DELAY_MS} ms`, () => {
  beforeAll(() => proxy.set({ kind: 'delay', direction: 'request', ms: DELAY_MS }))

  it.concurrent.each([...paths, http2Path])(
    `a label stands at the first byte of $name, ${TIMES} of ${TIMES} times`,
    async (path) => {
      const results = await Promise.all(Array.from({ length: TIMES }, () => standsAtFirstByte(path)))

      expect(results).toEqual(Array(TIMES).fill(true))
    },
  )
})
