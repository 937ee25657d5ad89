import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Http2ServerResponse } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Express, NextFunction, Request, Response } from 'express'
import { taintOf } from '../../lib/http/labels/taint-labels.ts'

export const CANARY = 'CANARY'

/** One way for a response to leave. Each speaks of the secret as soon as it can, in whatever it sends. */
export interface Path {
  readonly name: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly answer: (req: Request, res: Response, next: NextFunction) => unknown
}

const folder = mkdtempSync(join(tmpdir(), 'taint-paths-'))
const file = join(folder, 'file.txt')
writeFileSync(file, CANARY.repeat(1000))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

export const paths: readonly Path[] = [
  { name: 'send', answer: (_req, res) => res.set('X-Canary', CANARY).send(CANARY) },
  { name: 'json', answer: (_req, res) => res.json({ secret: CANARY }) },
  {
    name: 'write',
    answer: (_req, res) => {
      res.write(CANARY)
      res.end(CANARY)
    },
  },
  { name: 'pipe', answer: (_req, res) => Readable.from([CANARY, CANARY]).pipe(res) },
  {
    name: 'pipeline',
    answer: (_req, res) => pipeline(Readable.from([CANARY, CANARY]), new PassThrough(), res).catch(() => {}),
  },
  { name: 'sendFile', answer: (_req, res) => res.sendFile(file) },
  { name: 'redirect', answer: (_req, res) => res.redirect(`/elsewhere?${CANARY}`) },
  { name: '204', answer: (_req, res) => res.set('X-Canary', CANARY).sendStatus(204) },
  {
    name: '304',
    headers: { 'if-none-match': `"${CANARY}"` },
    answer: (_req, res) => res.set('ETag', `"${CANARY}"`).send(CANARY),
  },
  { name: 'HEAD', method: 'HEAD', answer: (_req, res) => res.set('X-Canary', CANARY).send(CANARY) },
  {
    name: 'flushHeaders',
    answer: (_req, res) => {
      res.set('X-Canary', CANARY).flushHeaders()
      setImmediate(() => res.end(CANARY))
    },
  },
  {
    name: 'SSE',
    answer: (_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Canary': CANARY })
      res.write(`data: ${CANARY}\n\n`)
      setImmediate(() => res.end(`data: ${CANARY}\n\n`))
    },
  },
  {
    name: 'early hints',
    answer: (_req, res) => {
      res.writeEarlyHints({ link: `</${CANARY}.css>; rel=preload` })
      res.send(CANARY)
    },
  },
  { name: 'Range', headers: { range: 'bytes=0-5' }, answer: (_req, res) => res.sendFile(file) },
  { name: 'error handler', answer: (_req, _res, next) => next(new Error(CANARY)) },
]

/** A route for each path; each adds a label and does not wait for it. */
export function mountPaths(app: Express): void {
  for (const { name, answer } of paths) {
    app.get(routeOf(name), (req, res, next) => {
      taintOf(req)
        .add('pii')
        .catch(() => {})
      answer(req, res, next)
    })
  }
  app.use((error: Error, _req: Request, res: Response, next: NextFunction) => {
    if (error.message !== CANARY || res.headersSent) return next(error)
    res.status(500).send(error.message)
  })
}

export function routeOf(name: string): string {
  return `/${name.replaceAll(' ', '-')}`
}

/** The path that is not Express's. */
export const HTTP2 = 'HTTP/2 compat'

/** What a server on HTTP/2 answers to every request. */
export function answerHttp2(req: Request, res: Http2ServerResponse): void {
  taintOf(req)
    .add('pii')
    .catch(() => {})
  res.setHeader('X-Canary', CANARY)
  res.write(CANARY)
  res.end(CANARY)
}
