import { withDeadline } from '../operations.ts'
import { checkInteger, checkKnown, checkObject, optionError } from '../option.ts'
import { AuthUnavailableError, TooManyAttemptsError } from './auth-errors.ts'
import type { Authenticate, Authenticated, UpstreamSession } from './authenticate.ts'

export interface GotrueUpstreamOptions {
  /** Where its routes are, such as `http://gotrue:9999` or `https://project.supabase.co/auth/v1`. */
  readonly url: string
  /** Sent as `apikey`, which Supabase's gateway demands. @defaultValue none */
  readonly apiKey?: string | undefined
  /** How long one operation may take, in ms, from 100 to 60,000. @defaultValue 5000 */
  readonly timeoutMs?: number | undefined
}

interface Call {
  readonly path: string
  readonly body?: object
  readonly bearer?: string
}

interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

/** What GoTrue grants: the refresh token is kept sealed, the access token only ends the session there. */
interface UpstreamGrant {
  readonly authenticated: Authenticated
  readonly accessToken: string
}

const MAX_REPLY_BYTES = 65_536
/** By these words GoTrue says that this user does not sign in; by these that this session does not go on. */
const DENIED = [
  'invalid_credentials',
  'invalid_grant',
  'user_banned',
  'user_not_found',
  'email_not_confirmed',
  'phone_not_confirmed',
  'validation_failed',
]
const ENDED = [
  'refresh_token_not_found',
  'refresh_token_already_used',
  'session_not_found',
  'session_expired',
  'invalid_grant',
  'user_banned',
  'user_not_found',
]
/** Whoever is not let sign out is not signed in. */
const SIGNED_OUT = [401, 403, 404]

/**
 * Signs users in at a GoTrue server, such as Supabase Auth, and keeps its refresh token sealed in the session. Each refresh
 * is asked there too, so that a ban arrives within one access lifetime; a sign-out is passed on. While the server is away, frozen
 * or replies with something else, sign-ins and refreshes are 503 and no session ends. A name with `@` is an email address, any other a
 * phone number.
 *
 * @example
 * ```ts
 * import { gotrueUpstream } from 'express-session-valkey/auth'
 *
 * const authenticate = gotrueUpstream({ url: 'http://gotrue:9999', timeoutMs: 2000 })
 * ```
 *
 * @throws `TypeError` if an option is wrong.
 */
export function gotrueUpstream(options: GotrueUpstreamOptions): Authenticate {
  const { url, apiKey, timeoutMs } = resolved(options)
  const flights = new Map<string, Promise<UpstreamGrant | undefined>>()

  /** Sends one request. Rejects with `AuthUnavailableError` if no whole reply comes. */
  async function send({ path, body, bearer }: Call, signal: AbortSignal): Promise<Reply> {
    const headers = {
      accept: 'application/json',
      'content-type': 'application/json',
      'x-supabase-api-version': '2024-01-01',
      ...(apiKey === undefined ? {} : { apikey: apiKey }),
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
    }
    try {
      const sent = body === undefined ? {} : { body: JSON.stringify(body) }
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        headers,
        ...sent,
        redirect: 'error',
        signal,
      })
      return { status: response.status, headers: response.headers, body: await bodyOf(response) }
    } catch {
      // Without a cause: what it was about has a password or a token in it.
      throw new AuthUnavailableError('the upstream could not be reached')
    }
  }

  function withinTimeout<Value>(work: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    const aborting = new AbortController()
    return withDeadline(work(aborting.signal), timeoutMs, () => {
      aborting.abort()
      return new AuthUnavailableError('the upstream did not answer in time')
    })
  }

  async function signIn(username: string, password: string): Promise<Authenticated | undefined> {
    const name = username.includes('@') ? { email: username } : { phone: username }
    const body = { ...name, password }
    const reply = await withinTimeout((signal) => send({ path: '/token?grant_type=password', body }, signal))
    if (reply.status === 200) return grantIn(reply).authenticated
    if (reply.status === 429) throw new TooManyAttemptsError(retryAfterS(reply))
    if (reply.status === 422 || isRefusal(reply, DENIED)) return undefined
    throw unexpected(reply)
  }

  async function renew(upstream: string, signal: AbortSignal): Promise<UpstreamGrant | undefined> {
    const reply = await send(
      { path: '/token?grant_type=refresh_token', body: { refresh_token: upstream } },
      signal,
    )
    if (reply.status === 200) return grantIn(reply)
    if (isRefusal(reply, ENDED)) return undefined
    throw unexpected(reply)
  }

  /** One refresh at a time of a session: whoever comes meanwhile gets what it brings. */
  function renewOnce(
    { sid, upstream }: UpstreamSession,
    signal: AbortSignal,
  ): Promise<UpstreamGrant | undefined> {
    if (upstream === undefined) return Promise.resolve(undefined)
    const flight = flights.get(sid) ?? renew(upstream, signal).finally(() => flights.delete(sid))
    flights.set(sid, flight)
    return flight
  }

  return Object.assign(({ username, password }: Parameters<Authenticate>[0]) => signIn(username, password), {
    async refresh(session: UpstreamSession): Promise<Authenticated | undefined> {
      return (await withinTimeout((signal) => renewOnce(session, signal)))?.authenticated
    },

    logout(session: Parameters<NonNullable<Authenticate['logout']>>[0]): Promise<void> {
      return withinTimeout(async (signal) => {
        // The server signs out whoever has a valid access token, and none is kept.
        const grant = await renewOnce(session, signal)
        if (grant === undefined) return
        const path = `/logout?scope=${session.scope}`
        const reply = await send({ path, bearer: grant.accessToken }, signal)
        if (reply.status >= 300 && !SIGNED_OUT.includes(reply.status)) throw unexpected(reply)
      })
    },
  })
}

function resolved(options: GotrueUpstreamOptions): GotrueUpstreamOptions & { timeoutMs: number } {
  checkObject('gotrueUpstream', options)
  checkKnown(options, ['url', 'apiKey', 'timeoutMs'], 'gotrueUpstream')
  const { url, apiKey, timeoutMs = 5000 } = options
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined
  if (
    parsed === undefined ||
    !/^https?:$/.test(parsed.protocol) ||
    /[?#]/.test(url) ||
    parsed.username !== ''
  )
    throw optionError('url', 'an http or https URL without query, fragment and user')
  if (apiKey !== undefined && (typeof apiKey !== 'string' || !/^[\x21-\x7e]+$/.test(apiKey)))
    throw optionError('apiKey', 'a text of printable ASCII')
  checkInteger('timeoutMs', timeoutMs, { min: 100, max: 60_000 })
  return { url: url.replace(/\/+$/, ''), apiKey, timeoutMs }
}

/** The body as JSON; `undefined` if it is none. Rejects if it is larger than any that GoTrue sends. */
async function bodyOf(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_REPLY_BYTES) throw new RangeError('The reply is too large')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown
  } catch {
    return undefined
  }
}

function grantIn({ status, headers, body }: Reply): UpstreamGrant {
  const { access_token: accessToken, refresh_token: upstream, user } = fieldsOf(body)
  const { id } = fieldsOf(user)
  if (isText(accessToken) && isText(upstream) && isText(id))
    return { accessToken, authenticated: { user: { ...fieldsOf(user), id }, upstream } }
  throw unexpected({ status, headers, body })
}

/** Whether a reply says by one of these words that it is the client who is refused, and not this server. */
function isRefusal({ status, headers, body }: Reply, words: readonly string[]): boolean {
  // Three forms of errors: { code: 'word' }, { code: 400, error_code: 'word' } and { error: 'word' }.
  const { code, error_code: errorCode, error } = fieldsOf(body)
  const word = headers.get('x-sb-error-code') ?? [errorCode, code, error].find(isText)
  return status >= 400 && status < 500 && status !== 429 && word !== undefined && words.includes(word)
}

function unexpected({ status }: Reply): AuthUnavailableError {
  return new AuthUnavailableError(
    `the upstream replied with status ${status}, which says nothing of the user`,
  )
}

function retryAfterS({ headers }: Reply): number {
  const seconds = Number(headers.get('retry-after') ?? 5)
  return Number.isInteger(seconds) && seconds > 0 && seconds <= 3600 ? seconds : 5
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
