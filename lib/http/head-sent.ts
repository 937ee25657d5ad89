import type { AnyResponse } from './response-methods.ts'

/** Whether the head has really left; a response that is held says so earlier. */
export function isHeadSent(res: AnyResponse): boolean {
  return Reflect.get(prototypeOf(res), 'headersSent', res) === true
}

/** Sets `Cache-Control: no-store` on a response whose head has not left, even if it is held, unless it has another. */
export function forbidCaching(res: AnyResponse): void {
  if (isHeadSent(res) || res.hasHeader('Cache-Control')) return
  const setHeader: unknown = Reflect.get(prototypeOf(res), 'setHeader')
  if (typeof setHeader === 'function') setHeader.call(res, 'Cache-Control', 'no-store')
}

function prototypeOf(res: AnyResponse): object {
  return Object.getPrototypeOf(res) as object
}
