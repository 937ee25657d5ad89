import type { Request, RequestHandler } from 'express'
import type { LabelStore } from '../../labels/label-store.ts'
import {
  askOption,
  checkFunction,
  checkNumber,
  hasMethods,
  MAX_TTL_S,
  type OptionTable,
  optionError,
  readOptions,
} from '../../option.ts'
import type { SessionStore } from '../../store/store.ts'
import { checkRuntime, isNodeResponse } from '../guard/node-response.ts'
import { RequestTaint } from './request-taint.ts'
import type { SealingStore, Taint } from './taint.ts'

/** Options of {@link taintLabels}. */
export interface TaintLabelsOptions {
  /** The label store, made by `createLabelStore`. */
  readonly store: LabelStore
  /** The store given to `session()`; each session keeps a sealed copy of its labels there. @defaultValue `req.sessionStore` */
  readonly sessions?: SessionStore | undefined
  /**
   * Returns the user's id, or `undefined` if no user is signed in. Labels then belong to the user: all sessions of the user share
   * them, and they survive signing out and in. @defaultValue labels belong to the session
   */
  readonly subject?: ((req: Request) => string | undefined) | undefined
  /**
   * Decides about a request whose labels cannot be loaded: `'refuse'` passes the error to the error handler, whose reply is 503;
   * `'continue'` runs the handlers with unknown labels: gates deny, and reading the labels throws.
   *
   * @defaultValue 'refuse', always
   */
  readonly onStoreError?: ((error: unknown, req: Request) => 'refuse' | 'continue') | undefined
  /**
   * The idle lifetime of a session without `cookie.maxAge`, in seconds: the `ttl` of the session store. Labels of sessions
   * expire a little later. @defaultValue 86400
   */
  readonly sessionTtl?: number | undefined
}

/**
 * Makes a middleware that sets `req.taint`: the labels of the data that the session, or user, has read. Mount it right after
 * `session()` and `sessionGuard()`. It loads labels only for requests that have a session or a subject.
 *
 * A label is stored before the first byte of the response that follows it. Use `taints` and `deniesTaint` on routes.
 *
 * @throws TypeError that names the option, if one is wrong.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import session from 'express-session'
 * import { createLabelStore, deniesTaint, InProcessStore, sessionGuard, taintLabels, taints } from 'express-session-valkey'
 *
 * const store = new InProcessStore()
 * const app = express()
 * app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
 * app.use(sessionGuard({ store }))
 * app.use(taintLabels({ store: createLabelStore({ kind: 'in-process' }), sessions: store }))
 *
 * app.get('/customers', taints('pii'), (_req, res) => void res.json([{ name: 'Ada' }]))
 * app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
 * ```
 */
export function taintLabels(options: TaintLabelsOptions): RequestHandler {
  const { store, sessions, subject, onStoreError, sessionTtl } = readOptions(
    options,
    TAINT_OPTIONS,
    'taintLabels',
  )
  const parts = {
    store,
    subject: (req: Request) => askOption('subject', () => subject(req)),
    sessionTtlMs: sessionTtl * 1000,
  }
  checkRuntime('taintLabels')
  sessions?.checkAlso(store)
  return function taintLabelsMiddleware(req, res, next) {
    const begin = () => {
      const known = taintsByRequest.get(req)
      if (known?.uses(store)) return undefined
      if (known)
        throw new TypeError('taintLabels is mounted twice, with different stores: give both the same')
      if (!isNodeResponse(res)) throw responselessError()
      const taint = new RequestTaint(req, res, { ...parts, sessions: sessions ?? connected(req, store) })
      taintsByRequest.set(req, taint)
      req.taint = publicTaint(taint)
      return taint.begin()?.catch((error: unknown) => {
        if (askOption('onStoreError', () => onStoreError(error, req)) !== 'continue') throw error
        taint.goOnWithout(error)
      })
    }
    try {
      const loading = begin()
      if (loading === undefined) return next()
      loading.then(
        () => process.nextTick(next),
        (error: unknown) => process.nextTick(next, error),
      )
    } catch (error) {
      next(error)
    }
  }
}

// engine.io refuses a request whose middleware fails, and logs no reason.
function responselessError(): TypeError {
  const message =
    'taintLabels has no response to hold where it is mounted (on engine.io, say): the request is refused. ' +
    'Ask the label store there: await labels.load({ sid: req.sessionID })'
  if (!isWarned) process.emitWarning(message, { code: 'ESV_LABELS_WITHOUT_RESPONSE' })
  isWarned = true
  return new TypeError(message)
}

let isWarned = false

const taintsByRequest = new WeakMap<Request, RequestTaint>()

/** Returns the labels of a request. Throws a `TypeError` if `taintLabels` did not run before. */
export function requestTaintOf(req: Request): RequestTaint {
  const taint = taintsByRequest.get(req)
  if (taint) return taint
  throw unmountedError('taints and deniesTaint')
}

/**
 * Returns `req.taint`, typed as present: for handlers behind {@link taintLabels}.
 *
 * @throws TypeError if `taintLabels` did not run before.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import { taintOf } from 'express-session-valkey'
 *
 * express().get('/labels', (req, res) => void res.json([...taintOf(req).labels]))
 * ```
 */
export function taintOf(req: Request): Taint {
  if (req.taint) return req.taint
  throw unmountedError('the handler that calls taintOf(req)')
}

function unmountedError(before: string): TypeError {
  return new TypeError(`Labels are not known here: mount taintLabels({ store }) before ${before}`)
}

// Without the methods that only the middlewares call.
function publicTaint(taint: RequestTaint): Taint {
  return {
    get labels() {
      return taint.labels
    },
    has: (label) => taint.has(label),
    add: (...labels) => taint.add(...labels),
    check: () => taint.check(),
  }
}

const TAINT_OPTIONS = {
  store: (value, name) => labelStoreOf(name, value),
  sessions: (value, name) => (value === undefined ? undefined : sealingStoreOf(name, value)),
  subject: (value = () => undefined, name) => checkFunction(name, value),
  onStoreError: (value = () => 'refuse', name) => checkFunction(name, value),
  sessionTtl: (value = 86_400, name) => checkNumber(name, value, { min: 0.001, max: MAX_TTL_S }),
} satisfies OptionTable<TaintLabelsOptions>

function labelStoreOf(name: string, store: LabelStore): LabelStore {
  if (hasMethods(store, ['load', 'add', 'check'])) return store
  throw optionError(name, 'a label store, as createLabelStore makes it')
}

function sealingStoreOf(name: string, store: unknown): SealingStore {
  if (isSealingStore(store)) return store
  throw optionError(name, 'a session store of this package')
}

/** The session store of a request, which from then on checks the label store, too. */
function connected({ sessionStore }: Request, labels: LabelStore): SealingStore {
  const store: unknown = sessionStore
  if (isSealingStore(store)) {
    store.checkAlso(labels)
    return store
  }
  throw new TypeError(
    'taintLabels needs a session store of this package: mount it after session({ store }), or give it the option "sessions"',
  )
}

function isSealingStore(store: unknown): store is SealingStore {
  return hasMethods(store, [
    'sealedLabels',
    'sealLabels',
    'storedSession',
    'isPristine',
    'checkAlso',
    'commit',
  ])
}
