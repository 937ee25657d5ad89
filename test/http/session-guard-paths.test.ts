import { setTimeout as delay } from 'node:timers/promises'
import compression from 'compression'
import connect from 'connect'
import type { NextFunction, Request, RequestHandler, Response } from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import { frameworks } from '../store/app.ts'
import { createGate } from '../store/gate.ts'
import { type Place, storeKinds } from '../store/stores.ts'
import { chain, guarded, newSid, SID_HEADER } from './guarded.ts'
import { http1, http2, type Listener, type Protocol, type Site } from './protocols.ts'
import { askRaw, statusOf } from './raw-exchange.ts'
import {
  CANARY,
  expressPaths,
  http1Paths,
  plainPaths,
  type ResponsePath,
  signInAnd,
} from './response-paths.ts'

const TIMES = inject('suite') === 'long' ? 5 : 2
const PUT_DELAY_MS = 20
const MAX_BYTES = 100_000

const late = (backend: Backend): Partial<Backend> => ({
  put: async (handle, write) => {
    await delay(PUT_DELAY_MS)
    return backend.put(handle, write)
  },
})

const failing = (): Partial<Backend> => ({
  put: async () => {
    await delay(PUT_DELAY_MS)
    throw new StoreUnavailableError('timeout')
  },
})

type Mount = (middlewares: readonly RequestHandler[], paths: readonly ResponsePath[]) => Listener

const servers: readonly { server: string; mount: Mount; paths: readonly ResponsePath[] }[] = [
  ...frameworks.map(({ framework, express }) => ({
    server: framework,
    paths: [...plainPaths, ...http1Paths, ...expressPaths],
    mount: (middlewares: readonly RequestHandler[], paths: readonly ResponsePath[]) => {
      const app = express()
      app.use(...middlewares)
      for (const path of paths) app.all(`/${path.path}`, signInAnd(path) as never)
      app.use((error: { status: number }, _req: Request, res: Response, _next: NextFunction) => {
        res.status(error.status).send(CANARY)
      })
      return app as unknown as Listener
    },
  })),
  {
    server: 'Connect',
    paths: [...plainPaths, ...http1Paths],
    mount: (middlewares, paths) => {
      const app = connect()
      for (const middleware of middlewares) app.use(middleware as connect.NextHandleFunction)
      for (const path of paths) app.use(`/${path.path}`, signInAnd(path))
      return app as unknown as Listener
    },
  },
  {
    server: 'a plain server',
    paths: [...plainPaths, ...http1Paths],
    mount: (middlewares, paths) => chain(middlewares, route(paths)),
  },
]

function route(paths: readonly ResponsePath[]) {
  return (req: Request, res: Response): void => {
    const path = paths.find(({ path }) => req.url === `/${path}`)
    if (path) signInAnd(path)(req, res)
    else res.writeHead(404).end()
  }
}

describe.each(storeKinds())('a guarded response, with sessions $name,', (kind) => {
  const sites: Site[] = []

  beforeAll(() => kind.start())
  afterAll(() => kind.stop())
  afterEach(async () => {
    await Promise.all(sites.splice(0).map((site) => site.close()))
  })

  async function serve(listener: Listener, protocol: Protocol = http1): Promise<Site> {
    const site = await protocol.serve(listener)
    sites.push(site)
    return site
  }

  /** Whether the session of a new visitor stands at the moment of the first byte, and what came. */
  async function visit(
    site: Site,
    place: Place,
    path: ResponsePath,
    headers: Readonly<Record<string, string>> = {},
    onLooked = () => {},
  ) {
    const sid = newSid()
    const handle = place.share().handle(sid)
    const raw = await askRaw({
      port: site.port,
      path: `/${path.path}`,
      method: path.method ?? 'GET',
      headers: { [SID_HEADER]: sid, ...path.headers, ...headers },
      look: async () => {
        const record = await place.backend().get(handle, MAX_BYTES)
        onLooked()
        return record !== undefined
      },
    })
    return { raw, sid, isStoredAtFirstByte: raw.atFirstByte }
  }

  const visits = (site: Site, place: Place, path: ResponsePath, headers?: Readonly<Record<string, string>>) =>
    Promise.all(Array.from({ length: TIMES }, () => visit(site, place, path, headers)))

  describe.each(servers)('on $server', ({ mount, paths }) => {
    test.each(paths)('by $path has its session stored at the first byte', async (path) => {
      const place = kind.place()
      const { middlewares } = guarded({ place, verbs: late })
      const site = await serve(mount(middlewares, paths))

      const results = await visits(site, place, path)

      expect(results.map(({ isStoredAtFirstByte }) => isStoredAtFirstByte)).toEqual(Array(TIMES).fill(true))
      expect(results.map(({ raw }) => statusOf(raw))).toEqual(Array(TIMES).fill(path.status))
      for (const { raw } of results) expect(raw.text).toContain('Set-Cookie: connect.sid=')
    })

    test.each(paths)(
      'by $path is a 503 without a byte of the handler if its session cannot be stored',
      async (path) => {
        const place = kind.place()
        const { middlewares, errors } = guarded({ place, verbs: failing })
        const site = await serve(mount(middlewares, paths))

        const results = await visits(site, place, path)

        for (const { raw } of results) {
          expect(statusOf(raw)).toBe(503)
          expect(raw.text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
          expect(raw.text).toContain('\r\nRetry-After: 1\r\n')
          expect(raw.text).not.toMatch(/set-cookie|x-canary|etag|location|text\/event-stream/i)
          expect(raw.text).not.toContain(CANARY)
          expect(raw.text.endsWith(path.method === 'HEAD' ? '\r\n\r\n' : '\r\n\r\nService Unavailable')).toBe(
            true,
          )
        }
        expect(errors.length).toBe(TIMES)
      },
    )

    test('without the guard leaves before its session is stored, and is a 200 even if it never is', async () => {
      const place = kind.place()
      const [path] = paths.filter(({ path }) => path === 'end-with-length')
      const looked = createGate()
      const held = (backend: Backend): Partial<Backend> => ({
        put: async (handle, write) => {
          await looked.opened
          return backend.put(handle, write)
        },
      })
      const lateSite = await serve(mount(guarded({ place, verbs: held, guard: 'none' }).middlewares, paths))
      const failingSite = await serve(
        mount(guarded({ place, verbs: failing, guard: 'none' }).middlewares, paths),
      )
      if (path === undefined) throw new Error('The path is gone')

      const [lateResult, failed] = await Promise.all([
        visit(lateSite, place, path, {}, looked.open),
        visit(failingSite, place, path),
      ])

      expect(lateResult.isStoredAtFirstByte).toBe(false)
      expect(statusOf(failed.raw)).toBe(200)
      expect(failed.raw.text).toContain('Set-Cookie: connect.sid=')
    })
  })

  test.each(['gzip', 'br', 'identity'])(
    'compressed as %s has its session stored at the first byte, or is a 503',
    async (encoding) => {
      const place = kind.place()
      const compress = compression({ threshold: 0, filter: () => true })
      const paths = [...plainPaths, ...http1Paths]
      const [lateGuard, failingGuard] = [guarded({ place, verbs: late }), guarded({ place, verbs: failing })]
      const lateSite = await serve(chain([...lateGuard.middlewares, compress], route(paths)))
      const failingSite = await serve(chain([...failingGuard.middlewares, compress], route(paths)))

      const results = await Promise.all(
        paths.map(async (path) => ({
          path,
          stored: await visit(lateSite, place, path, { 'Accept-Encoding': encoding }),
          refused: await visit(failingSite, place, path, { 'Accept-Encoding': encoding }),
        })),
      )

      for (const { path, stored, refused } of results) {
        expect([path.path, stored.isStoredAtFirstByte, statusOf(stored.raw), statusOf(refused.raw)]).toEqual([
          path.path,
          true,
          path.status,
          503,
        ])
        expect(refused.raw.text).not.toMatch(/content-encoding|vary|set-cookie/i)
        expect(refused.raw.text).not.toContain(CANARY)
      }
      const compressed = results.filter(({ stored }) => /content-encoding/i.test(stored.raw.text))
      expect(compressed.length > 4).toBe(encoding !== 'identity')
    },
  )

  describe('on HTTP/2', () => {
    test.each(plainPaths)('by $path has its session stored at the first byte', async (path) => {
      const place = kind.place()
      const { middlewares } = guarded({ place, verbs: late })
      const site = await serve(chain(middlewares, route(plainPaths)), http2)
      const sid = newSid()
      const handle = place.share().handle(sid)
      let looking: Promise<boolean> | undefined

      const answer = await site.ask(`/${path.path}`, {
        method: path.method ?? 'GET',
        headers: { [SID_HEADER]: sid },
        onFirstByte: () => {
          looking = place
            .backend()
            .get(handle, MAX_BYTES)
            .then((record) => record !== undefined)
        },
      })

      expect(await looking).toBe(true)
      expect(answer.status).toBe(path.status)
      expect(answer.headers['set-cookie']?.[0]).toContain('connect.sid=')
    })

    test.each(plainPaths)(
      'by $path is a 503 without a byte of the handler if its session cannot be stored',
      async (path) => {
        const { middlewares } = guarded({ place: kind.place(), verbs: failing })
        const site = await serve(chain(middlewares, route(plainPaths)), http2)

        const answer = await site.ask(`/${path.path}`, { method: path.method ?? 'GET' })

        expect(answer).toMatchObject({
          status: 503,
          isComplete: true,
          informational: [],
          headers: { 'retry-after': '1' },
        })
        expect(JSON.stringify([answer.headers, answer.body])).not.toMatch(new RegExp(`${CANARY}|set-cookie`))
      },
    )
  })
})
