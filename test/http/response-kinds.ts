import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import express, { type Express, type NextFunction, type Request, type Response } from 'express'

const FILE = fileURLToPath(import.meta.url)
const LARGE = Array.from({ length: 40 }, (_, at) => String(at % 10).repeat(32_768))
const TEXT = 'a page of text that is worth to be compressed, as it says the same again and again. '.repeat(40)

/** One kind of response, whatever middleware is around it. */
export interface ResponseKind {
  readonly kind: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly status: number
  readonly body: string | RegExp
  answer(req: Request, res: Response, next: NextFunction): unknown
}

export const responseKinds: readonly ResponseKind[] = [
  { kind: 'send', status: 200, body: TEXT, answer: (_req, res) => res.send(TEXT) },
  {
    kind: 'json',
    status: 200,
    body: JSON.stringify({ text: TEXT }),
    answer: (_req, res) => res.json({ text: TEXT }),
  },
  {
    kind: 'redirect',
    status: 302,
    body: /Redirecting to \/account/,
    answer: (_req, res) => res.redirect('/account'),
  },
  {
    kind: 'writeHead and end',
    status: 201,
    body: TEXT,
    answer: (_req, res) => res.writeHead(201, { 'Content-Type': 'text/plain' }).end(TEXT),
  },
  {
    kind: 'a static file',
    status: 200,
    body: /One kind of response/,
    answer: (req, res, next) => {
      req.url = '/response-kinds.ts'
      express.static(fileURLToPath(new URL('.', import.meta.url)))(req, res, next)
    },
  },
  {
    kind: 'a range of a file',
    headers: { Range: 'bytes=0-99' },
    status: 206,
    body: /^import \{ createReadStream/,
    answer: (_req, res) => res.sendFile(FILE),
  },
  {
    kind: 'pipe',
    status: 200,
    body: /One kind of response/,
    answer: (_req, res) => createReadStream(FILE, { highWaterMark: 512 }).pipe(res.type('text')),
  },
  {
    kind: 'pipeline',
    status: 200,
    body: LARGE.join(''),
    answer: (_req, res) => pipeline(Readable.from(LARGE), res.type('text')),
  },
  {
    kind: 'large chunks, each after a drain',
    status: 200,
    body: LARGE.join(''),
    answer: (_req, res) => {
      res.type('text')
      const left = [...LARGE]
      const write = () => {
        for (let chunk = left.shift(); chunk !== undefined; chunk = left.shift())
          if (!res.write(chunk)) return void res.once('drain', write)
        res.end()
      }
      write()
    },
  },
  {
    kind: 'large chunks that wait for no drain',
    status: 200,
    body: LARGE.join(''),
    answer: (_req, res) => {
      res.type('text').on('drain', () => {})
      for (const chunk of LARGE) res.write(chunk)
      res.end()
    },
  },
  {
    kind: 'flushHeaders and writes',
    status: 200,
    body: 'one two three',
    answer: (_req, res) => {
      res.type('text').flushHeaders()
      res.write('one ')
      setImmediate(() => {
        res.write('two ')
        setImmediate(() => res.end('three'))
      })
    },
  },
  {
    kind: 'server-sent events',
    status: 200,
    body: 'data: 1\n\ndata: 2\n\n',
    answer: (_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
      res.flushHeaders()
      res.write('data: 1\n\n')
      setTimeout(() => {
        res.write('data: 2\n\n')
        setImmediate(() => res.end())
      }, 5)
    },
  },
  { kind: '204', status: 204, body: '', answer: (_req, res) => res.status(204).end() },
  {
    kind: '304',
    headers: { 'If-None-Match': '"v1"' },
    status: 304,
    body: '',
    answer: (_req, res) => res.set('ETag', '"v1"').send(TEXT),
  },
  { kind: 'HEAD', method: 'HEAD', status: 200, body: '', answer: (_req, res) => res.send(TEXT) },
  {
    kind: 'an error',
    status: 418,
    body: /short and stout/,
    answer: (_req, _res, next) =>
      next(Object.assign(new Error('short and stout'), { status: 418, expose: true })),
  },
]

/** Serves each kind under its place in the list. */
export function mountKinds(app: Express, prepare: (req: Request) => unknown): void {
  responseKinds.forEach((kind, at) => {
    app.all(`/${at}`, async (req, res, next) => {
      await prepare(req)
      return kind.answer(req, res, next)
    })
  })
}
