import { generateKeyPairSync } from 'node:crypto'
import { vi } from 'vitest'
import type { LocalUser } from '../../../lib/auth/index.ts'
import { TooManyAttemptsError } from '../../../lib/auth/index.ts'
import { handleOf, ownerName } from '../../../lib/session/names.ts'
import {
  authenticate,
  bearer,
  PASSWORD,
  type StatefulSite,
  statefulSite,
  statelessSite,
} from '../../auth/auth-site.ts'
import { observeArgon2 } from '../../auth/observed-argon2.ts'
import { badTokens } from '../../auth/token-corpus.ts'
import { createGate } from '../../store/gate.ts'
import { InProcessKind, type Place } from '../../store/stores.ts'
import { wrapBackend } from '../../store/wrap-backend.ts'
import { TestClock } from '../../support/clock.ts'
import type { Mutant } from './mutant.ts'
import type { AuthBuild } from './mutated-build.ts'

/** A mutant of lib/auth/ that one probe of its routes finds. */
export interface AuthMutant extends Mutant {
  /** Whether the promise is kept. */
  holds(build: AuthBuild): Promise<boolean>
}

type SiteOptions = Partial<Parameters<typeof statefulSite>[0]>

const SESSIONS = 'auth/token-sessions.ts'
const ACCESS = 'auth/access-token.ts'
const PASSWORDS = 'auth/passwords.ts'
const ISSUER = 'https://app.example/auth'
const SECRETS = ['a secret of the tests, never used outside of them']

const sidOf = (token: string): string => handleOf(token.split('.')[1]) ?? ''

function ground(build: AuthBuild) {
  const clock = new TestClock()
  const place = new InProcessKind().place({ clock })
  const site = (options: SiteOptions = {}) =>
    statefulSite({ issuer: ISSUER, build, clock, store: place.share(), ...options })
  return { clock, place, site }
}

/** A place whose writes wait: they open `writing`, and go on with `held`. */
function heldWrites(place: Place) {
  const [writing, held] = [createGate(), createGate()]
  const backend = place.backend()
  const slow = wrapBackend(backend, {
    put: async (handle, write) => {
      writing.open()
      await held.opened
      return backend.put(handle, write)
    },
  })
  return { writing, held, store: place.over(slow) }
}

async function statusOf({ refresh }: StatefulSite, token: string): Promise<number> {
  return (await refresh(token)).status
}

/** Whether a session that has lost its place is refused, by its current token or by a spent one. */
async function refusesTheDisplaced(build: AuthBuild, isSpent: boolean): Promise<boolean> {
  const { place, site } = ground(build)
  const app = await site()
  const { refresh_token: token } = await app.signIn('alice')
  if (isSpent) await app.refresh(token)
  const handles = [sidOf(token)]
  await place.backend().registry.withdraw(ownerName('alice'), { handles, departedTtlMs: 1 })
  return (await statusOf(app, token)) === 400
}

const rotationMutants: readonly AuthMutant[] = [
  {
    name: 'a refresh replaces whatever stands',
    patches: [
      {
        file: SESSIONS,
        from: `tokenRecords.put(sealed, { expect: { kind: 'version', etag }, ttlMs }),`,
        to: `tokenRecords.put(sealed, { expect: { kind: 'any' }, ttlMs }),`,
      },
    ],
    async holds(build) {
      const { place, site } = ground(build)
      const real = await site()
      const { writing, held, store } = heldWrites(place)
      const { refresh_token: token } = await real.signIn('alice')
      const late = (await site({ store })).refresh(token)
      await writing.opened
      const { refresh_token: second } = (await real.refresh(token)).body
      const { refresh_token: third } = (await real.refresh(second)).body
      held.open()
      return (await late).body.refresh_token === third
    },
  },
  {
    name: 'a token session that has lost its place goes on',
    patches: [
      {
        file: SESSIONS,
        from: `return isMember ? result.outcome : 'ended'`,
        to: 'return isMember || result.outcome ? result.outcome : result.outcome',
      },
    ],
    holds: (build) => refusesTheDisplaced(build, false),
  },
  {
    name: 'a spent token asks no registry',
    patches: [
      {
        file: SESSIONS,
        from: 'if (!(await this.#access.membership.checkMembership(session.sid, meta))) throw deadToken()',
        to: '',
      },
    ],
    holds: (build) => refusesTheDisplaced(build, true),
  },
  {
    name: 'a token that comes back late ends nothing',
    patches: [
      {
        file: SESSIONS,
        from: `await endSessions.end(handle, { reason: 'refresh-reused', actor: { type: 'system' } })`,
        to: 'void endSessions',
      },
    ],
    async holds(build) {
      const app = await ground(build).site({ refreshGrace: 0 })
      const { refresh_token: first } = await app.signIn('alice')
      const { refresh_token: second } = (await app.refresh(first)).body
      return (await statusOf(app, first)) === 400 && (await statusOf(app, second)) === 400
    },
  },
  {
    name: 'any client may go on',
    patches: [
      {
        file: SESSIONS,
        from: 'if (record?.session.state.clientId !== clientId) throw deadToken()',
        to: 'if (record === undefined) throw deadToken()',
      },
    ],
    async holds(build) {
      const app = await ground(build).site({ clients: ['first-party', 'phone'] })
      const { refresh_token: token } = await app.signIn('alice')
      const form = { grant_type: 'refresh_token', refresh_token: token, client_id: 'phone' }
      return (await app.post('/auth/token', form)).status === 400
    },
  },
  {
    name: 'the MAC of a refresh token is not compared',
    patches: [
      {
        file: 'auth/refresh-token.ts',
        from: 'expected !== undefined && equalInConstantTime(Buffer.from(expected), Buffer.from(text))',
        to: 'expected !== undefined || equalInConstantTime(Buffer.from(text), Buffer.from(text))',
      },
    ],
    async holds(build) {
      const app = await ground(build).site()
      const [kid, id, , mac] = (await app.signIn('alice')).refresh_token.split('.')
      return (await statusOf(app, `${kid}.${id}.1.${mac}`)) === 400
    },
  },
  {
    name: 'the grace of a spent token never ends',
    patches: [
      {
        file: 'auth/token-state.ts',
        from: 'if (spent !== undefined && nowMs - spent[1] < graceMs)',
        to: 'if (spent !== undefined)',
      },
    ],
    async holds(build) {
      const { clock, site } = ground(build)
      const app = await site()
      const { refresh_token: token } = await app.signIn('alice')
      await app.refresh(token)
      clock.advance(31_000)
      return (await statusOf(app, token)) === 400
    },
  },
  {
    name: 'whoever has lost a race without a grace is a thief',
    patches: [
      {
        file: SESSIONS,
        from: `if (tokenClass === 'recent' || (wasCurrent && isSpent(tokenClass)))`,
        to: `if (tokenClass === 'recent' || (wasCurrent && tokenClass === 'ahead'))`,
      },
    ],
    async holds(build) {
      const { place, site } = ground(build)
      const real = await site({ refreshGrace: 0 })
      const { writing, held, store } = heldWrites(place)
      const { refresh_token: token } = await real.signIn('alice')
      const late = (await site({ store, refreshGrace: 0 })).refresh(token)
      await writing.opened
      await real.refresh(token)
      held.open()
      return (await late).status === 200
    },
  },
]

const upstreamMutants: readonly AuthMutant[] = [
  {
    name: 'a refusal of the upstream ends whatever stands by then',
    patches: [
      {
        file: SESSIONS,
        from: `const expect = { kind: 'version', etag } as const`,
        to: `const expect = { kind: etag.length > 0 ? 'any' : 'version', etag } as const`,
      },
    ],
    async holds(build) {
      const { place, site } = ground(build)
      let isSpent = false
      const strict = Object.assign(authenticate.bind(undefined), {
        refresh: async () => {
          if (isSpent) return undefined
          isSpent = true
          return { user: { id: 'alice' } }
        },
      })
      const { writing, held, store } = heldWrites(place)
      const backend = place.backend()
      const real = await site({ authenticate: strict })
      const { refresh_token: token } = await real.signIn('alice')
      const winner = (await site({ store, authenticate: strict })).refresh(token)
      await writing.opened
      const last = wrapBackend(backend, {
        put: async (handle, write) => {
          held.open()
          await winner
          return backend.put(handle, write)
        },
      })
      const loser = await site({ store: place.over(last), authenticate: strict })
      return (await statusOf(loser, token)) === 200
    },
  },
  {
    name: 'what a hook of a refresh rejects with reaches the client',
    patches: [
      {
        file: 'auth/token-route.ts',
        from: 'if (isAuthError(error) && error.status === 503) throw error',
        to: 'if (isAuthError(error)) throw error',
      },
    ],
    async holds(build) {
      const refresh = () => Promise.reject(new TooManyAttemptsError())
      const app = await ground(build).site({
        authenticate: Object.assign(authenticate.bind(undefined), { refresh }),
      })
      return (await statusOf(app, (await app.signIn('alice')).refresh_token)) === 503
    },
  },
  {
    name: 'a token of before there was a store counts as none of the stored session',
    patches: [
      {
        file: SESSIONS,
        from: 'const state = adoption ? afterSpending(',
        to: 'const state = false ? afterSpending(',
      },
    ],
    async holds(build) {
      const { clock, site } = ground(build)
      const before = await statelessSite({ issuer: ISSUER, secrets: SECRETS, clock })
      const app = await site({ secrets: SECRETS })
      const { refresh_token: token } = await before.signIn('alice')
      await app.refresh(token)
      clock.advance(31_000)
      return (await statusOf(app, token)) === 400
    },
  },
  {
    name: 'a token of before there was a store is registered again after a sign-out',
    patches: [
      {
        file: SESSIONS,
        from: 'if ((await step(() => this.#access.backend.ending(handle))) !== undefined) throw deadToken()',
        to: '',
      },
    ],
    async holds(build) {
      const { clock, site } = ground(build)
      const before = await statelessSite({ issuer: ISSUER, secrets: SECRETS, clock })
      const app = await site({ secrets: SECRETS })
      const { refresh_token: token } = await before.signIn('alice')
      await app.refresh(token)
      await app.auth.registry.endAll('alice')
      return (await statusOf(app, token)) === 400
    },
  },
]

const requestMutants: readonly AuthMutant[] = [
  {
    name: 'a session that has ended passes where that is looked at',
    patches: [
      {
        file: 'auth/auth-router.ts',
        from: 'if (live) await authorizer.liveSession(auth)',
        to: '',
      },
    ],
    async holds(build) {
      const app = await ground(build).site()
      const { access_token: token } = await app.signIn('alice')
      await app.auth.registry.endAll('alice')
      return (await app.send('/live', bearer(token))).status === 401
    },
  },
  {
    name: 'another site may use the cookie',
    patches: [{ file: 'auth/auth-router.ts', from: 'if (!isSameOrigin(req))', to: 'if (false)' }],
    async holds(build) {
      const { send } = await ground(build).site({ transport: 'cookie' })
      const body = new URLSearchParams({ grant_type: 'password', username: 'alice', password: PASSWORD })
      const headers = { 'sec-fetch-site': 'cross-site' }
      return (await send('/auth/token', { method: 'POST', body, headers })).status === 400
    },
  },
]

/** Whether none of the corpus opens a route, of those tokens that can be sent in a header. */
async function refusesBadTokens(build: AuthBuild): Promise<boolean> {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const app = await statefulSite({ build, store: ground(build).place.share(), keys: [key] })
  const { access_token: token } = await app.signIn('alice')
  const corpus = badTokens({ token, key, nowS: Math.floor(Date.now() / 1000) })
  const sent = corpus.filter(([, bad]) => bad.length < 8000 && /^[\w.~+/=-]+$/.test(bad))
  const statuses = await Promise.all(sent.map(([, bad]) => app.send('/orders', bearer(bad))))
  return statuses.every(({ status }) => status === 401)
}

const accessTokenMutants: readonly AuthMutant[] = [
  {
    name: 'claims may be of any type',
    patches: [{ file: ACCESS, from: '!isOfOurForm(payload, ttlS) ||', to: '' }],
  },
  {
    name: 'a payload may say a claim twice',
    patches: [{ file: ACCESS, from: '|| encoded(payload) !== parts.payload', to: '' }],
  },
  {
    name: 'a signature has several forms',
    patches: [
      {
        file: ACCESS,
        from: 'if (!isExact || signature.length !== SIGNATURE_CHARACTERS[alg]) throw new InvalidTokenError()',
        to: '',
      },
    ],
  },
  {
    name: 'tokens of any issuer are accepted',
    patches: [{ file: ACCESS, from: 'issuer: expected.issuer,', to: '' }],
  },
  {
    name: 'tokens for any audience are accepted',
    patches: [
      {
        file: ACCESS,
        from: `audience: typeof expected.audience === 'string' ? expected.audience : [...expected.audience],`,
        to: '',
      },
    ],
  },
  {
    name: 'tokens of the future are accepted',
    patches: [{ file: ACCESS, from: 'maxTokenAge: expected.ttlS,', to: '' }],
  },
].map((mutant) => ({ ...mutant, holds: refusesBadTokens }))

/** What many sign-ins at once come to. */
async function signInsAtOnce({ localUsers, hashPassword }: AuthBuild, count: number) {
  const passwordHash = await hashPassword(PASSWORD)
  const users: Record<string, LocalUser> = { ann: { id: 1, passwordHash } }
  const signIn = localUsers({ find: (username) => users[username] })
  const req = { socket: undefined } as never
  const observed = observeArgon2()
  const outcomes = await Promise.allSettled(
    Array.from({ length: count }, () =>
      signIn({ grant: 'password', username: count === 1 ? 'unknown' : 'ann', password: PASSWORD, req }),
    ),
  )
  vi.restoreAllMocks()
  return { observed, refused: outcomes.filter(({ status }) => status === 'rejected').length }
}

const passwordMutants: readonly AuthMutant[] = [
  {
    name: 'any number of hashes run at a time',
    patches: [
      { file: PASSWORDS, from: 'if (this.#running >= this.#maxRunning)', to: 'if (this.#running < 0)' },
    ],
    holds: async (build) => (await signInsAtOnce(build, 18)).observed.mostRunning <= 2,
  },
  {
    name: 'any number of sign-ins wait',
    patches: [
      { file: PASSWORDS, from: 'if (this.#admitted >= this.#maxAdmitted)', to: 'if (this.#admitted < 0)' },
    ],
    holds: async (build) => (await signInsAtOnce(build, 30)).refused === 12,
  },
  {
    name: 'an unknown user costs no hash',
    patches: [
      {
        file: PASSWORDS,
        from: 'const isRight = await gate.run(() => {',
        to: 'if (!user) return undefined\n const isRight = await gate.run(() => {',
      },
    ],
    holds: async (build) => (await signInsAtOnce(build, 1)).observed.verified.length === 1,
  },
]

export const authMutants: readonly AuthMutant[] = [
  ...rotationMutants,
  ...upstreamMutants,
  ...requestMutants,
  ...accessTokenMutants,
  ...passwordMutants,
]
