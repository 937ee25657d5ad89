import type { FailureCause } from '../../../errors.ts'
import { classifyFailure } from './failures.ts'

/** What may be told of the place that a client is connected to, or tries to be. */
export interface Place {
  readonly host?: string
  readonly port?: number
}

type Facts = Readonly<Record<string, unknown>>

// No `@`: a host that was given with its credentials in front is not repeated.
const HOST = /^[\w.:%/-]{1,255}$/
const SYSTEM_CODE = /^[A-Z][A-Z0-9_]{1,63}$/
const COMMAND = /^[\w|.-]{1,64}$/
const DENIED_COMMAND = /permissions to run the '([\w|.-]{1,64})' command/
const DENIED_KEY = /access (?:a|one of the|at least one of the) keys?\b/
const DENIED_CHANNEL = /access (?:a|one of the|at least one of the) channels?\b/
// A prefix, and all that can stand between it and a digest or the tag of the marks.
const OWN_NAME = /^([\w:-]{1,70}:)(?:\{(?:[\w-]{43}|keys)\}|[0-9a-f]{64})$/
const OWN_CHANNEL = /^[\w-][\w:-]{0,63}:n$/

/**
 * What may be told of an error of a client or a socket: no message, and of a command's arguments no more than the
 * patterns of our own names. `place` is where it happened, as far as the error does not say so itself.
 */
export function causeOf(error: unknown, place: Place = {}): FailureCause {
  const root = rootOf(error)
  const facts = (root instanceof Error ? root : {}) as Facts
  const systemCode = matching(SYSTEM_CODE, facts['code'])
  const command = commandOf(root)
  const right = rightOf(root)
  return {
    reason: classifyFailure(root).reason,
    ...addressOf(facts, place),
    ...(systemCode !== undefined && { systemCode }),
    ...(command !== undefined && { command }),
    ...(right !== undefined && { right }),
  }
}

/** Where a client of one server is connected to; of a cluster or of sentinels that is not known. */
export function placeOf(client: object): Place {
  const { options } = client as { readonly options?: Facts }
  if (!options || Array.isArray(options['sentinels']) || 'startupNodes' in client) return {}
  return typeof options['path'] === 'string' ? { host: options['path'] } : checkedPlace(options)
}

/** The `host:port` that clients of a cluster call a node by. */
export function parseAddress(address: unknown): Place {
  const [, host, port] = /^(.*):(\d{1,5})$/.exec(String(address)) ?? []
  return checkedPlace({ host, port: Number(port) })
}

// Of several addresses of one name, each with an error of its own, the first is told of; of a cluster, the last node's.
function rootOf(error: unknown): unknown {
  const { errors, lastNodeError } = (error ?? {}) as { errors?: readonly unknown[]; lastNodeError?: unknown }
  if (Array.isArray(errors) && errors.length > 0) return rootOf(errors[0])
  return lastNodeError instanceof Error ? rootOf(lastNodeError) : error
}

function addressOf({ address, hostname, port }: Facts, place: Place): Place {
  return checkedPlace({ host: address ?? hostname ?? place.host, port: port ?? place.port })
}

function checkedPlace({ host, port }: Facts): Place {
  return {
    ...(typeof host === 'string' && HOST.test(host) && { host }),
    ...(typeof port === 'number' && { port }),
  }
}

function commandOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { command } = error as { readonly command?: { readonly name?: unknown } }
  return DENIED_COMMAND.exec(error.message)?.[1] ?? matching(COMMAND, command?.name)
}

/** As `ACL SETUSER` would grant what is missing. */
function rightOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const denied = DENIED_COMMAND.exec(error.message)?.[1]
  if (denied !== undefined) return `+${denied}`
  const { command } = error as { readonly command?: { readonly args?: unknown } }
  const texts = Array.isArray(command?.args) ? command.args.filter((arg) => typeof arg === 'string') : []
  if (DENIED_CHANNEL.test(error.message)) return patternsOf(texts, ownChannel)
  return DENIED_KEY.test(error.message) ? patternsOf(texts, ownKeys) : undefined
}

function patternsOf(texts: readonly string[], patternOf: (text: string) => string | undefined) {
  const patterns = new Set(texts.map(patternOf).filter((pattern) => pattern !== undefined))
  return patterns.size === 0 ? undefined : [...patterns].join(' ')
}

const ownChannel = (text: string) => (OWN_CHANNEL.test(text) ? `&${text}` : undefined)

function ownKeys(text: string): string | undefined {
  const start = OWN_NAME.exec(text)?.[1]
  return start && `~${start}*`
}

function matching(pattern: RegExp, value: unknown): string | undefined {
  return typeof value === 'string' && pattern.test(value) ? value : undefined
}
