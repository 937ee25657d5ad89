import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freshPrefix } from '../store/stores.ts'
import { type RunningProgram, startProgram } from '../support/program.ts'
import { startCluster, startValkey } from '../support/valkey.ts'
import type { Reply, TokenReply } from './auth-site.ts'

const SIDE_BY_SIDE = 50
const ROUNDS = 200
const OLD = 'the secret of before in these tests and never used outside'
const NEW = 'the secret of after in these tests and never used outside'

interface Servers {
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  stop(): Promise<void>
}

const places: Record<string, () => Promise<Servers>> = {
  'one server': async () => {
    const server = await startValkey()
    const { hostname, port } = new URL(server.url)
    return { nodes: [{ host: hostname, port: Number(port) }], stop: () => server.stop() }
  },
  'a cluster': async () => {
    const cluster = await startCluster({ primaries: 3, replicas: 1 })
    const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
    return { nodes, stop: () => cluster.stop() }
  },
}

async function post(origin: string, path: string, form: Record<string, string>, bearer?: string) {
  const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
  const res = await fetch(`${origin}/auth/${path}`, {
    method: 'POST',
    body: new URLSearchParams(form),
    headers,
  })
  const text = await res.text()
  return { status: res.status, headers: res.headers, body: (text && JSON.parse(text)) as TokenReply }
}

describe.each(Object.keys(places))('Two processes on %s', (name) => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const SIGNING_KEY = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  const PREFIX = freshPrefix()
  let servers: Servers
  let programs: RunningProgram[] = []

  // The second of them has the next secret in front already, as in the middle of a rotation.
  beforeAll(async () => {
    servers = await (places[name]?.() ?? expect.unreachable())
    const env = { VALKEY_NODES: JSON.stringify(servers.nodes), SIGNING_KEY, PREFIX }
    programs = await Promise.all([
      startProgram('test/auth/token-server.ts', { ...env, SECRETS: `${OLD},${NEW}` }),
      startProgram('test/auth/token-server.ts', { ...env, SECRETS: `${NEW},${OLD}` }),
    ])
  })
  afterAll(async () => {
    await Promise.all(programs.map((program) => program.stop('SIGKILL')))
    await servers?.stop()
  })

  const origin = (at: number): string => programs[at % programs.length]?.origin ?? ''
  const signIn = async (username: string): Promise<TokenReply> =>
    (await post(origin(0), 'token', { grant_type: 'password', username, password: 'x' })).body

  /** Presents a token, and again where that is 503. */
  async function refresh(at: number, token: string): Promise<Reply<TokenReply>> {
    for (;;) {
      const reply = await post(origin(at), 'token', { grant_type: 'refresh_token', refresh_token: token })
      if (reply.status !== 503) return reply
    }
  }

  test(`come to one successor of a token that ${SIDE_BY_SIDE} requests present at once, ${ROUNDS} times`, async () => {
    let { refresh_token: token } = await signIn('storm')
    for (let round = 1; round <= ROUNDS; round += 1) {
      const replies = await Promise.all(Array.from({ length: SIDE_BY_SIDE }, (_, at) => refresh(at, token)))
      expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]))
      const successors = new Set(replies.map(({ body }) => body.refresh_token))
      expect(successors.size).toBe(1)
      token = [...successors][0] ?? ''
      expect(token.split('.')[2]).toBe(String(round))
    }
  })

  test(`leave none alive of ${ROUNDS} refreshes that meet a sign-out`, async () => {
    const { refresh_token: token, access_token: access } = await signIn('racer')
    const racing = Array.from({ length: ROUNDS }, (_, at) => refresh(at, token))
    const out = await post(origin(1), 'logout-all', {}, access)
    const given = (await Promise.all(racing)).filter(({ status }) => status === 200)

    expect(out.status).toBe(204)
    for (const one of new Set([token, ...given.map(({ body }) => body.refresh_token)]))
      for (const at of [0, 1]) expect((await refresh(at, one)).status).toBe(400)
  })

  test(`leave none alive where a refresh and a sign-out meet, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const { refresh_token: token, access_token: access } = await signIn(`racer ${round}`)
      const [reply, out] = await Promise.all([
        refresh(round, token),
        post(origin(round + 1), 'logout', {}, access),
      ])
      expect([200, 400]).toContain(reply.status)
      expect(out.status).toBe(204)
      const last = reply.status === 200 ? reply.body.refresh_token : token
      expect((await refresh(round + 1, last)).status).toBe(400)
    }
  })
})
