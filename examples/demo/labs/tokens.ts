import { generateKeyPairSync } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import express, { type Express } from 'express'
import type { SessionStore } from 'express-session-valkey'
import { createAuthRouter } from 'express-session-valkey/auth'
import { serve } from './lab-app.ts'

export type Holder = 'tab 1' | 'tab 2' | 'thief'

/** Something that a holder of the tokens did, and what came of it. */
export interface TokenEvent {
  readonly atMs: number
  readonly holder: Holder
  readonly action: 'sign-in' | 'refresh' | 'copy' | 'look'
  /** The number of the refresh token that was presented, from 0 at the sign-in. */
  readonly presented?: number
  /** The number of the refresh token that came back. */
  readonly received?: number
  readonly status?: number
  /** The `error` of the reply, or why the session has ended. */
  readonly outcome?: string
}

export interface TokenTerms {
  readonly store: SessionStore
  /** How long a spent token returns its successor again, in whole seconds. */
  readonly graceS: number
  /** How long to wait between two steps: only so that one can watch. */
  readonly paceMs: number
}

const USER = 'token-lab'

/** Two tabs refresh at once; then a copied token is used too late. Reports the events so far after each. */
export async function runTokens(
  { store, graceS, paceMs }: TokenTerms,
  report: (events: readonly TokenEvent[]) => void,
): Promise<readonly TokenEvent[]> {
  const app = express()
  const running = await serve(app)
  mountTokens(app, { store, graceS, origin: running.origin })
  const begin = performance.now()
  const events: TokenEvent[] = []
  const happened = (event: Omit<TokenEvent, 'atMs'>) => {
    events.push({ atMs: Math.round(performance.now() - begin), ...event })
    report([...events])
  }
  const family = new Family(running.origin, happened)
  try {
    await family.signIn()
    await delay(paceMs)
    happened({ holder: 'thief', action: 'copy', presented: 0 })
    await delay(paceMs)
    await Promise.all([family.refresh('tab 1', 0), family.refresh('tab 2', 0)])
    await delay(paceMs)
    await family.refresh('tab 1', 1)
    await delay(graceS * 1000 + 50)
    await family.refresh('thief', 0)
    await delay(paceMs)
    await family.refresh('tab 1', 2)
    const ending = await store.registry.ending({ handle: family.handle })
    happened({ holder: 'tab 1', action: 'look', outcome: ending?.reason ?? 'active' })
  } finally {
    await running.close()
  }
  return events
}

function mountTokens(
  app: Express,
  {
    store,
    graceS,
    origin,
  }: { readonly store: SessionStore; readonly graceS: number; readonly origin: string },
): void {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  app.use(
    '/auth',
    createAuthRouter({
      issuer: `${origin}/auth`,
      audience: origin,
      keys: [privateKey],
      authenticate: async ({ username }) => ({ user: { id: username } }),
      refreshGrace: graceS,
      store,
    }),
  )
}

/** The refresh tokens of one sign-in, in the order in which they came. */
class Family {
  readonly #endpoint: string
  readonly #happened: (event: Omit<TokenEvent, 'atMs'>) => void
  readonly #tokens: string[] = []
  /** The name of the token session in the store's registry. */
  handle = ''

  constructor(origin: string, happened: (event: Omit<TokenEvent, 'atMs'>) => void) {
    this.#endpoint = `${origin}/auth/token`
    this.#happened = happened
  }

  async signIn(): Promise<void> {
    const { status, body } = await this.#ask({ grant_type: 'password', username: USER, password: 'lab' })
    this.handle = sessionIn(body['access_token'])
    this.#happened({ holder: 'tab 1', action: 'sign-in', status, ...this.#numberOf(body) })
  }

  async refresh(holder: Holder, presented: number): Promise<void> {
    const { status, body } = await this.#ask({
      grant_type: 'refresh_token',
      refresh_token: this.#tokens[presented] ?? '',
    })
    const outcome = typeof body['error'] === 'string' ? { outcome: body['error'] } : {}
    this.#happened({ holder, action: 'refresh', presented, status, ...this.#numberOf(body), ...outcome })
  }

  async #ask(
    parameters: Record<string, string>,
  ): Promise<{ status: number; body: Readonly<Record<string, unknown>> }> {
    const reply = await fetch(this.#endpoint, { method: 'POST', body: new URLSearchParams(parameters) })
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> }
  }

  #numberOf({ refresh_token: token }: Readonly<Record<string, unknown>>): { received?: number } {
    if (typeof token !== 'string') return {}
    if (!this.#tokens.includes(token)) this.#tokens.push(token)
    return { received: this.#tokens.indexOf(token) }
  }
}

/** The claim `sid` of an access token. */
function sessionIn(accessToken: unknown): string {
  const [, payload = ''] = String(accessToken).split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { readonly sid: string }
  return claims.sid
}
