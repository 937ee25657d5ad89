import type { FailureCause } from '../../../errors.ts'

/** What a failed attempt means. */
export interface Failure {
  /** One of the words docs/ERRORS.md lists. */
  readonly reason: string
  /** Whether the server may have applied the command. */
  readonly mayBeApplied: boolean
  /** Whether another attempt, a moment later, has a chance. */
  readonly isWorthRepeating: boolean
  /** What is known of where and why. */
  readonly cause?: FailureCause | undefined
}

/** The reason of an attempt that met something of ours that is not a record. */
export const UNREADABLE = 'unreadable'

export const timedOut: Failure = { reason: 'timeout', mayBeApplied: true, isWorthRepeating: true }
export const notConnected: Failure = { reason: 'connection', mayBeApplied: false, isWorthRepeating: false }
export const unexpectedReply: Failure = {
  reason: 'unexpected-reply',
  mayBeApplied: true,
  isWorthRepeating: false,
}

/** The app has changed the client that it shares. */
export const clientChanged: Failure = refused('client-changed')

const unrecognized: Failure = { reason: 'unknown', mayBeApplied: true, isWorthRepeating: false }
const connectionLost: Failure = { reason: 'connection', mayBeApplied: true, isWorthRepeating: true }
const notSent: Failure = { reason: 'connection', mayBeApplied: false, isWorthRepeating: true }
const notTrusted: Failure = { reason: 'tls', mayBeApplied: false, isWorthRepeating: false }
// A script that lacks a right may have used others before it came to this one.
const deniedInScript: Failure = { reason: 'no-permission', mayBeApplied: true, isWorthRepeating: false }

/** By the first word of an error reply: the server refused the command before it did anything. */
const refusals: ReadonlyMap<string, Failure> = new Map([
  ['READONLY', refused('read-only', { isPassing: true })],
  ['MOVED', refused('moved', { isPassing: true })],
  ['ASK', refused('moved', { isPassing: true })],
  ['TRYAGAIN', refused('moved', { isPassing: true })],
  ['CROSSSLOT', refused('cross-slot')],
  ['CLUSTERDOWN', refused('cluster-down', { isPassing: true })],
  ['MASTERDOWN', refused('primary-down', { isPassing: true })],
  ['LOADING', refused('loading', { isPassing: true })],
  ['BUSY', refused('busy', { isPassing: true })],
  ['NOSCRIPT', refused('no-script', { isPassing: true })],
  ['OOM', refused('out-of-memory')],
  ['MISCONF', refused('misconfigured')],
  ['NOREPLICAS', refused('no-replicas')],
  ['NOPERM', refused('no-permission')],
  ['NOAUTH', refused('not-authenticated')],
  ['WRONGPASS', refused('not-authenticated')],
  ['WRONGTYPE', refused(UNREADABLE)],
  ['CORRUPT', refused(UNREADABLE)],
])

/** By the beginning of an error the client itself made. */
const clientErrors: readonly (readonly [start: string, failure: Failure])[] = [
  ['ERR ACL failure in script', deniedInScript],
  // Redis 7.0.
  ["ERR The user executing the script can't", deniedInScript],
  ['ERR DB index is out of range', refused('no-database')],
  ['ERR SELECT is not allowed in cluster mode', refused('no-database')],
  ['Connection in subscriber mode', clientChanged],
  ['Connection is in monitoring mode', clientChanged],
  // A password for a user that needs none, or that an older server does not know: it goes on as another user.
  ['ERR AUTH ', refused('not-authenticated')],
  ['ERR Client sent AUTH', refused('not-authenticated')],
  ['ERR invalid password', refused('not-authenticated')],
  ['ERR This instance has cluster support disabled', refused('not-a-cluster')],
  ["ERR unknown command 'sentinel'", refused('not-a-sentinel')],
  ['ERR unknown command `sentinel`', refused('not-a-sentinel')],
  ["Stream isn't writeable", notSent],
  ["Cluster isn't ready", notSent],
  ['None of startup nodes is available', notSent],
  ['Failed to refresh slots cache', notSent],
  ['Command timed out', timedOut],
  ['Connection is closed', connectionLost],
  ['Reached the max retries per request limit', connectionLost],
  ['Command aborted due to connection close', connectionLost],
  ['Cluster is ended', connectionLost],
  ['Socket timeout', connectionLost],
]

const socketCodes: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ECONNREFUSED',
  'ECONNABORTED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ENOENT',
  'EACCES',
])

// Of OpenSSL and of Node's own checks of a certificate; all of them before a command is sent.
const TLS_CODE = /^ERR_(TLS|SSL)_|^EPROTO$|^UNABLE_TO_|CERT/

// The client follows redirections itself and, when it gives up, wraps what it met last.
const WRAPPED = /^Too many Cluster redirections\. Last error: (?:\w*Error: )?/
const READY_CHECK = /^Ready check failed: /

/** Classifies what a client rejected a command, or emitted as `error`, with. Whatever is not known may have been applied. */
export function classifyFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return unrecognized
  const message = error.message.replace(WRAPPED, '').replace(READY_CHECK, '')
  const [word = ''] = message.split(' ', 1)
  const known = refusals.get(word) ?? clientErrors.find(([start]) => message.startsWith(start))?.[1]
  if (known !== undefined) return known
  const code = 'code' in error ? String(error.code) : ''
  if (TLS_CODE.test(code)) return notTrusted
  return socketCodes.has(code) ? connectionLost : unrecognized
}

function refused(reason: string, { isPassing } = { isPassing: false }): Failure {
  return { reason, mayBeApplied: false, isWorthRepeating: isPassing }
}

/** Returns what may be logged of the address that a client is connected to, or tries to connect to. */
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
 * Returns what may be logged of an error of a client or a socket: no message, and of a command's arguments no more than the
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

// Of several addresses of one name, each with its own error, the first one counts; of a cluster, that of the last node.
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
