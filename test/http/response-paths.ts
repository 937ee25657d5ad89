import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import type { NextFunction, Request, Response } from 'express'

/** What no client may see of a response that is refused. */
export const CANARY = 'canary-4711'

const FILE = fileURLToPath(import.meta.url)

/** One way of answering. It has signed somebody in before; `res` is Express's on Express. */
export interface ResponsePath {
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The status of the answer when all is well. */
  readonly status: number
  answer(res: ServerResponse & Response, req: Request, next: NextFunction): unknown
}

const chunks = () => Readable.from([CANARY, ' one', ' two'])

/** Ways that any server has. */
export const plainPaths: readonly ResponsePath[] = [
  { path: 'end', status: 200, answer: (res) => res.end(CANARY) },
  {
    path: 'end-with-length',
    status: 200,
    answer: (res) => {
      res.setHeader('Content-Length', CANARY.length)
      res.end(CANARY)
    },
  },
  {
    path: 'write',
    status: 200,
    answer: (res) => {
      res.write(CANARY)
      res.write(' one')
      setImmediate(() => res.end(' two'))
    },
  },
  {
    path: 'writeHead',
    status: 203,
    answer: (res) => {
      res.writeHead(203, { 'X-Canary': CANARY })
      res.end(CANARY)
    },
  },
  { path: 'pipe', status: 200, answer: (res) => chunks().pipe(res) },
  { path: 'pipeline', status: 200, answer: (res) => pipeline(chunks(), res).catch(() => {}) },
  {
    path: '204',
    status: 204,
    answer: (res) => {
      res.writeHead(204, { 'X-Canary': CANARY })
      res.end()
    },
  },
  {
    path: '304',
    status: 304,
    answer: (res) => {
      res.statusCode = 304
      res.setHeader('ETag', `"${CANARY}"`)
      res.end()
    },
  },
  {
    path: 'head',
    method: 'HEAD',
    status: 200,
    answer: (res) => {
      res.setHeader('Content-Length', CANARY.length)
      res.setHeader('X-Canary', CANARY)
      res.end()
    },
  },
  {
    path: 'flushHeaders',
    status: 200,
    answer: (res) => {
      res.setHeader('X-Canary', CANARY)
      res.flushHeaders()
      setImmediate(() => res.end(CANARY))
    },
  },
  {
    path: 'events',
    status: 200,
    answer: (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
      res.write(`data: ${CANARY}\n\n`)
      setImmediate(() => {
        res.write(`data: ${CANARY}\n\n`)
        setImmediate(() => res.end())
      })
    },
  },
  {
    path: 'early-hints',
    status: 200,
    answer: (res) => {
      res.writeEarlyHints({ link: `</${CANARY}.css>; rel=preload; as=style` })
      setImmediate(() => res.end(CANARY))
    },
  },
  {
    path: 'continue',
    status: 200,
    answer: (res) => {
      res.writeContinue()
      res.end(CANARY)
    },
  },
]

/** Ways that only HTTP/1.1 has. */
export const http1Paths: readonly ResponsePath[] = [
  {
    path: 'processing',
    status: 200,
    answer: (res) => {
      res.writeProcessing()
      res.end(CANARY)
    },
  },
]

/** Ways that Express adds. */
export const expressPaths: readonly ResponsePath[] = [
  { path: 'send', status: 200, answer: (res) => res.send(CANARY) },
  { path: 'json', status: 200, answer: (res) => res.json({ secret: CANARY }) },
  { path: 'redirect', status: 302, answer: (res) => res.redirect(`/${CANARY}`) },
  { path: 'sendFile', status: 200, answer: (res) => res.sendFile(FILE) },
  { path: 'range', headers: { Range: 'bytes=0-99' }, status: 206, answer: (res) => res.sendFile(FILE) },
  {
    path: 'error-handler',
    status: 418,
    answer: (_res, _req, next) => next(Object.assign(new Error(CANARY), { status: 418 })),
  },
]

/** Signs somebody in, without waiting for anything, and answers. */
export function signInAnd({ answer }: ResponsePath) {
  return (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void = () => {}) => {
    const { session } = req as Request
    Reflect.set(session, 'user', 'alice')
    return answer(res as ServerResponse & Response, req as Request, next as NextFunction)
  }
}
