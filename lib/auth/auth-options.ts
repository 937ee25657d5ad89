import type { IncomingMessage } from 'node:http'
import {
  checkFunction,
  checkKnown,
  checkNumber,
  checkObject,
  checkOneOf,
  MAX_TTL_S,
  optionError,
} from '../option.ts'
import type { SessionRegistry } from '../registry/registry.ts'
import type { Secrets } from '../seal/secret.ts'
import type { SessionDevice } from '../session/device.ts'
import type { AccessTokenOptions } from './access-token.ts'
import type { Authenticate } from './authenticate.ts'
import type { TokenLifetimes } from './token-sessions.ts'

/** Options of {@link createAuthRouter}, with and without a store. All durations are in seconds. */
export interface AuthOptions
  extends Pick<AccessTokenOptions, 'issuer' | 'audience' | 'keys' | 'alg' | 'claims' | 'clock'> {
  /** Checks who signs in: `localUsers`, `gotrueUpstream`, or a function of the app's own. */
  readonly authenticate: Authenticate
  /** How long an access token is valid, 30 to 86,400. Below 90 some clients refresh before each use. @defaultValue 300 */
  readonly accessTtl?: number | undefined
  /** How long a refresh token may stay unused. @defaultValue 2592000, 30 days */
  readonly refreshTtl?: number | undefined
  /** When a token session ends for certain, counted from its sign-in. `false` lets it go on as long as it is refreshed. @defaultValue 7776000, 90 days */
  readonly absoluteTtl?: number | false | undefined
  /** The names that clients may give as `client_id`; the first is that of clients that give none. @defaultValue `['first-party']` */
  readonly clients?: readonly string[] | undefined
  /** Where the refresh token is: in the body of requests and replies, or in a `__Host-` cookie that no script reads. @defaultValue 'bearer' */
  readonly transport?: 'bearer' | 'cookie' | undefined
  /** Is called with failures of status 500 and above, for logs. What it throws is a process warning. @defaultValue none */
  readonly onError?: ((error: unknown, req: IncomingMessage) => unknown) | undefined
}

/** Options with a store, in whose registry the token sessions are. */
export interface StatefulAuthOptions extends AuthOptions {
  /** A store of this package. */
  readonly store: { readonly registry: SessionRegistry }
  /** How long a spent refresh token returns the current one, from its first use, 0 to 300. @defaultValue 30 */
  readonly refreshGrace?: number | undefined
  /** Returns what to keep of the device a user signs in on, as the store's option of that name. @defaultValue nothing */
  readonly device?: ((req: IncomingMessage) => SessionDevice | undefined) | undefined
  /** Those of refresh tokens that were issued without a store: they go on until they expire. */
  readonly secrets?: Secrets | undefined
}

/** Options without a store. */
export interface StatelessAuthOptions extends AuthOptions {
  readonly store?: undefined
  /** Seal and encrypt refresh tokens: the first seals, all open. Each at least 32 bytes. */
  readonly secrets: Secrets
}

export interface ResolvedAuthOptions
  extends Omit<AuthOptions, 'accessTtl' | 'refreshTtl' | 'absoluteTtl' | 'clients' | 'transport'> {
  readonly store: { readonly registry: SessionRegistry } | undefined
  readonly secrets: Secrets | undefined
  readonly device: ((req: IncomingMessage) => SessionDevice | undefined) | undefined
  readonly accessTtlS: number
  readonly lifetimes: TokenLifetimes
  readonly clients: readonly string[]
  readonly transport: 'bearer' | 'cookie'
}

const KNOWN = [
  'issuer',
  'audience',
  'keys',
  'alg',
  'claims',
  'clock',
  'authenticate',
  'accessTtl',
  'refreshTtl',
  'absoluteTtl',
  'refreshGrace',
  'clients',
  'transport',
  'device',
  'store',
  'secrets',
  'onError',
] as const

const CLIENT = /^[\x20-\x7e]{1,128}$/

/** Applies defaults and checks every option once. Throws a `TypeError` that names the wrong one. */
export function resolveAuthOptions(options: StatefulAuthOptions | StatelessAuthOptions): ResolvedAuthOptions {
  checkObject('options', options)
  checkKnown(options, KNOWN, 'createAuthRouter')
  const { issuer, audience, keys, alg, claims, clock, authenticate, onError, store, secrets } = options
  const { device, refreshGrace } = options as Partial<StatefulAuthOptions>
  checkFunction('authenticate', authenticate)
  for (const hook of ['refresh', 'logout'] as const)
    if (authenticate[hook] !== undefined) checkFunction(`authenticate.${hook}`, authenticate[hook])
  if (onError !== undefined) checkFunction('onError', onError)
  if (device !== undefined) checkFunction('device', device)
  if (store === undefined) checkStateless({ secrets, device, refreshGrace })
  return {
    ...{ issuer, audience, keys, alg, claims, clock, authenticate, onError, store, secrets, device },
    ...lifetimesOf(options, refreshGrace),
    clients: checkedClients(options.clients ?? ['first-party']),
    transport: checkOneOf('transport', options.transport ?? 'bearer', ['bearer', 'cookie']),
  }
}

function checkStateless({ secrets, ...ofStores }: Partial<StatefulAuthOptions>): void {
  if (secrets === undefined)
    throw optionError('secrets', 'given where no "store" is: refresh tokens are sealed with them')
  const useless = Object.entries(ofStores).find(([, value]) => value !== undefined)
  if (useless !== undefined) throw optionError(useless[0], 'left out where no "store" is')
}

function lifetimesOf(options: AuthOptions, refreshGrace = 30) {
  const { accessTtl = 300, refreshTtl = 30 * 86_400, absoluteTtl = 90 * 86_400 } = options
  const idleMs = Math.round(checkNumber('refreshTtl', refreshTtl, { min: 1, max: MAX_TTL_S }) * 1000)
  const absoluteMs =
    absoluteTtl === false
      ? Number.POSITIVE_INFINITY
      : Math.round(checkNumber('absoluteTtl', absoluteTtl, { min: 1, max: MAX_TTL_S }) * 1000)
  const graceMs = Math.round(checkNumber('refreshGrace', refreshGrace, { min: 0, max: 300 }) * 1000)
  const accessTtlS = checkNumber('accessTtl', accessTtl, { min: 30, max: 86_400 })
  if (!Number.isInteger(accessTtl)) throw optionError('accessTtl', 'a whole number of seconds', accessTtl)
  return { accessTtlS, lifetimes: { idleMs, absoluteMs, graceMs } }
}

function checkedClients(clients: unknown): readonly string[] {
  const isList = Array.isArray(clients) && clients.length > 0
  if (!isList || !clients.every((name) => typeof name === 'string' && CLIENT.test(name)))
    throw optionError('clients', 'a list of at least one name of 1 to 128 printable ASCII characters')
  return clients
}
