/**
 * What tokens cost: a sign-in without the hash of a password, a refresh, and a request with an access token, checked alone
 * (`requireAuth`) or with its session looked at (`live`). ES256; 16 clients, each a user who is at the cap. `express-jwt`
 * verifies the same token and nothing else; `open` is the app without any of it.
 */
import { startValkey } from '../support/valkey.ts'
import type { Load } from './app.ts'
import { startLoad } from './app.ts'
import type { AuthName, AuthTask } from './auth-process.ts'
import type { LoadRequest } from './load-process.ts'
import type { Measurement } from './result.ts'
import { type Bench, type Case, inRounds, scaled, type Trial } from './rounds.ts'
import { Subject } from './subject.ts'

const NAMES: readonly AuthName[] = [
  'on Valkey, signed',
  'on Valkey, encrypted',
  'in process',
  'without a store',
]
const CLIENTS = 16

interface AuthApp {
  readonly name: AuthName
  readonly port: number
  readonly subject: Subject<AuthTask, number>
}

export async function run(bench: Bench): Promise<Measurement[]> {
  const amount = scaled(800, bench)
  const server = await startValkey()
  const load = await startLoad()
  const apps: AuthApp[] = []
  for (const name of NAMES) {
    const place = { host: server.host, port: server.port }
    const subject = await Subject.start<AuthTask, number>('auth-process.ts', { name, place })
    apps.push({ name, subject, port: await subject.ask('port') })
  }
  const [first] = apps
  const trial = (
    app: AuthApp,
    requests: (client: number) => Promise<LoadRequest>,
    isRefreshing = false,
  ): Trial => ({
    candidate: app.name,
    run: () => costOf(app, load, { amount, isRefreshing, requests }),
  })
  const open = (what: string, path: string): Trial[] =>
    first === undefined
      ? []
      : [{ ...trial(first, async () => withToken(path, await signIn(first.port, 0))), candidate: what }]
  const cases: Case[] = [
    { what: 'sign-in', trials: apps.map((app) => trial(app, async (client) => signInRequest(client))) },
    {
      what: 'refresh',
      trials: apps.map((app) =>
        trial(app, async (client) => refreshOf(await signIn(app.port, client)), true),
      ),
    },
    {
      what: 'requireAuth',
      trials: [
        ...apps.map((app) =>
          trial(app, async (client) => withToken('/required', await signIn(app.port, client))),
        ),
        ...open('express-jwt', '/express-jwt'),
        ...open('open', '/open'),
      ],
    },
    {
      what: 'requireAuth, live',
      trials: apps
        .filter(({ name }) => name !== 'without a store')
        .map((app) => trial(app, async (client) => withToken('/live', await signIn(app.port, client)))),
    },
  ]
  try {
    return await inRounds(cases, bench)
  } finally {
    await Promise.all([...apps.map(({ subject }) => subject.stop()), load.stop()])
    await server.stop()
  }
}

interface Visits {
  readonly amount: number
  readonly isRefreshing: boolean
  /** What a client sends over and over. */
  readonly requests: (client: number) => Promise<LoadRequest>
}

async function costOf({ subject, port }: AuthApp, load: Load, { amount, isRefreshing, requests }: Visits) {
  const clients: LoadRequest[][] = []
  for (let client = 0; client < CLIENTS; client += 1) clients.push([await requests(client)])
  const before = await subject.ask('usage')
  const reply = await load.ask({ port, amount, clients, isRefreshing })
  return { cpuMicros: ((await subject.ask('usage')) - before) / amount, ...reply }
}

interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

function signInRequest(client: number): LoadRequest & { readonly body: string } {
  const body = new URLSearchParams({
    grant_type: 'password',
    username: `user-${client}`,
    password: 'wonderland',
  })
  return { method: 'POST', path: '/auth/token', headers: FORM, body: body.toString() }
}

async function signIn(port: number, client: number): Promise<Tokens> {
  const { path, body } = signInRequest(client)
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers: FORM, body })
  if (!response.ok) throw new Error(`Signing in: ${response.status} ${await response.text()}`)
  return (await response.json()) as Tokens
}

function refreshOf({ refresh_token: token }: Tokens): LoadRequest {
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token }).toString()
  return { method: 'POST', path: '/auth/token', headers: FORM, body }
}

function withToken(path: string, { access_token: token }: Tokens): LoadRequest {
  return { method: 'GET', path, headers: { authorization: `Bearer ${token}` } }
}
