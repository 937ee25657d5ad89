import type { SessionBody } from '../session/codec.ts'
import { userIdFrom } from '../session/names.ts'
import type { AuthUser } from './authenticate.ts'

/** What a token session's record says beside what is sealed of every session. */
export interface TokenState {
  readonly user: AuthUser
  readonly clientId: string
  /** The number of the current refresh token. */
  readonly gen: number
  /** The key of its MAC: other nodes may have another first secret. */
  readonly kid: string
  /** Tokens that were spent lately, each with when it was first presented, in ms of the backend's clock. */
  readonly spent: readonly SpentToken[]
  readonly upstream?: string | undefined
}

export type SpentToken = readonly [gen: number, atMs: number]

/**
 * What a genuine refresh token is to its session.
 *
 * - `current`: the next one is due.
 * - `recent`: it was spent within the grace, so that the client has perhaps not seen the reply.
 * - `late-parent`, `stale`: it was spent before; the two differ in how far behind it is. Somebody else may have it.
 * - `ahead`: the record is older than the token: the store has lost a write.
 */
export type TokenClass = 'current' | 'recent' | 'late-parent' | 'stale' | 'ahead'

// Of a client that refreshes twice a second, within the default grace.
const MAX_SPENT = 64

export function classOf(gen: number, state: TokenState, { nowMs, graceMs }: Moment): TokenClass {
  if (gen === state.gen) return 'current'
  if (gen > state.gen) return 'ahead'
  const spent = state.spent.find(([one]) => one === gen)
  // Each has a grace of its own, from its first use: presenting it again does not move it.
  if (spent !== undefined && nowMs - spent[1] < graceMs) return 'recent'
  return gen === state.gen - 1 ? 'late-parent' : 'stale'
}

export interface Moment {
  readonly nowMs: number
  readonly graceMs: number
}

/** The state after a token was spent. */
export function afterSpending(
  gen: number,
  state: TokenState,
  next: Moment & Pick<TokenState, 'kid' | 'user' | 'upstream'>,
): TokenState {
  const { nowMs, graceMs, ...changed } = next
  const recent = state.spent.filter(([one, atMs]) => one !== gen && nowMs - atMs < graceMs)
  const spent: SpentToken[] = [...recent, [gen, Math.floor(nowMs)]]
  return { ...state, ...changed, gen: gen + 1, spent: spent.slice(-MAX_SPENT) }
}

/** The state as the body of a record. docs/FORMAT.md specifies it. */
export function encodeTokenState({ user, clientId, gen, kid, spent, upstream }: TokenState): SessionBody {
  const text = JSON.stringify({ user, client: clientId, gen, kid, spent, upstream })
  return { bytes: Buffer.from(text), isText: true }
}

/** Strict: anything but what {@link encodeTokenState} writes is `undefined`. */
export function decodeTokenState({ bytes, isText }: SessionBody): TokenState | undefined {
  try {
    const { user, client, gen, kid, spent, upstream, ...unknown } = JSON.parse(bytes.toString()) as Record<
      string,
      unknown
    >
    if (!isText || Object.keys(unknown).length > 0 || !isUser(user)) return undefined
    if (typeof client !== 'string' || typeof kid !== 'string' || !isCount(gen)) return undefined
    if (!Array.isArray(spent) || spent.length > MAX_SPENT || !spent.every(isSpent)) return undefined
    if (upstream !== undefined && typeof upstream !== 'string') return undefined
    return { user, clientId: client, gen, kid, spent, upstream }
  } catch {
    return undefined
  }
}

export function isUser(value: unknown): value is AuthUser {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { id } = value as { readonly id?: unknown }
  return typeof id !== 'object' && userIdFrom(id) !== undefined
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function isSpent(value: unknown): value is SpentToken {
  return Array.isArray(value) && value.length === 2 && value.every(isCount)
}
