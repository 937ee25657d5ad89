import { ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import {
  type AnyResponse,
  HEADER_METHODS,
  methodOf,
  replaceMethod,
  SENDING_METHODS,
} from './response-methods.ts'

/** What stands between a held response and those who write to it. */
export interface Holding {
  /** Whether the handler has begun the response, for all it knows. */
  readonly hasBegun: boolean
  /** Whether the handler has ended the response, for all it knows. */
  readonly hasEnded: boolean
  /** A call of a method through which bytes leave. */
  send(name: string, args: readonly unknown[]): unknown
  /** A call of a method that changes the head. */
  changeHead(name: string, args: readonly unknown[]): unknown
  /** A call of Node's own method that makes the head of what was set. */
  makeHead(): unknown
}

// On the response itself: a WeakMap of all responses would cost the garbage collector more than all the rest.
export const HOLDING: unique symbol = Symbol('holding')

export type HeldResponse = AnyResponse & { [HOLDING]?: Holding }

type HeldMethod = (this: HeldResponse, ...args: unknown[]) => unknown

// All that stands over a response's methods is shared by all responses: functions, or getters, of its own on each of
// them would take longer to make than all that they do.
const HELD_METHODS: ReadonlyMap<string, HeldMethod> = new Map([
  ...SENDING_METHODS.map((name) => [name, heldSending(name)] as const),
  ...HEADER_METHODS.map((name) => [name, heldChange(name)] as const),
  ['_implicitHeader', heldImplicitHeader],
  ['writeHeader', heldWriteHeader],
])

const HELD_STATE: PropertyDescriptorMap & ThisType<HeldResponse> = {
  headersSent: {
    configurable: true,
    get() {
      return this[HOLDING]?.hasBegun
    },
  },
  writableEnded: {
    configurable: true,
    get() {
      return this[HOLDING]?.hasEnded
    },
  },
}

/**
 * Express sets the prototype of each response, and V8 then makes a hidden class for every single property that is
 * added to it. An object that has lost a property, other than its last one, becomes a plain hash table, to which
 * properties are added, and in which Express finds its own, many times faster. Call it before replacing `end`, which
 * express-session has replaced already.
 */
export function easeAdding(res: HeldResponse): void {
  const prototype: unknown = Object.getPrototypeOf(res)
  if (prototype === ServerResponse.prototype || prototype === Http2ServerResponse.prototype) return
  Reflect.deleteProperty(res, 'end')
}

/** Puts the held methods of these names over those of the response. */
export function holdMethods(res: HeldResponse, names: Iterable<string>): void {
  for (const name of names) {
    const method = HELD_METHODS.get(name)
    if (method) replaceMethod(res, name, method)
  }
}

/** Lets the response say of itself what the holding says. */
export function holdState(res: HeldResponse): void {
  Object.defineProperties(res, HELD_STATE)
}

function heldSending(name: string): HeldMethod {
  return function (...args) {
    return this[HOLDING]?.send(name, args)
  }
}

function heldChange(name: string): HeldMethod {
  return function (...args) {
    return this[HOLDING]?.changeHead(name, args)
  }
}

// Node's own, which other middleware calls too. HTTP/2 responses lack it, though express-session needs it.
function heldImplicitHeader(this: HeldResponse): unknown {
  return this[HOLDING]?.makeHead()
}

// A deprecated alias on the prototype, which would pass by all that stands over writeHead.
function heldWriteHeader(this: HeldResponse, ...args: unknown[]): unknown {
  return methodOf(this, 'writeHead')?.apply(this, args)
}
