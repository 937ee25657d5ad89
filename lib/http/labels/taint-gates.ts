import type { RequestHandler } from 'express'
import { decide } from '../../diagnostics.ts'
import { TaintDeniedError } from '../../errors.ts'
import { distinctLabels } from '../../labels/label.ts'
import type { TaintPolicy } from './taint.ts'
import { requestTaintOf } from './taint-labels.ts'

/**
 * Makes a middleware that adds labels before the handler runs: for routes that read labelled data. If the labels cannot be
 * stored, the handler does not run, and the client gets 503.
 *
 * @throws TypeError if something is not a label.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import { taints } from 'express-session-valkey'
 *
 * express().get('/customers', taints('pii'), (_req, res) => void res.json([]))
 * ```
 */
export function taints(...labels: string[]): RequestHandler {
  const added = atLeastOne(labels)
  return async function taintsMiddleware(req, _res, next) {
    try {
      await requestTaintOf(req).add(...added)
    } catch (error) {
      return next(error)
    }
    next()
  }
}

/**
 * Makes a middleware that denies a route to requests with one of the labels, or by a policy: for routes through which data
 * leaves. Passes `TaintDeniedError` (403) to the error handler if the request is denied or its labels are lost, and a 503 error
 * if the labels cannot be loaded. Decides by the labels stored at that moment: before the handler runs, again at the end of the
 * request's body, and again before the response leaves.
 *
 * A handler that passes on a body while it still arrives must `await req.taint.check()` before each chunk.
 *
 * @throws TypeError if something is not a label.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import { deniesTaint } from 'express-session-valkey'
 *
 * const app = express()
 * app.post('/mail', deniesTaint('pii', 'secret'), (_req, res) => void res.send('sent'))
 * app.post('/export', deniesTaint((labels) => labels.size > 2), (_req, res) => void res.send('exported'))
 * ```
 */
export function deniesTaint(policy: TaintPolicy): RequestHandler
export function deniesTaint(...labels: string[]): RequestHandler
export function deniesTaint(...rules: readonly (string | TaintPolicy)[]): RequestHandler {
  const [first] = rules
  const policy = typeof first === 'function' && rules.length === 1 ? first : deniesAny(atLeastOne(rules))
  return async function deniesTaintMiddleware(req, _res, next) {
    try {
      await requestTaintOf(req).pass(policy)
    } catch (error) {
      if (error instanceof TaintDeniedError) decide({ decision: 'taint-denied' })
      return next(error)
    }
    next()
  }
}

function deniesAny(denied: readonly string[]): TaintPolicy {
  return (labels) => denied.some((label) => labels.has(label))
}

function atLeastOne(labels: readonly unknown[]): readonly string[] {
  const distinct = distinctLabels(labels)
  if (distinct.length === 0) throw new TypeError('Name at least one label')
  return distinct
}
