import { lookup } from 'node:dns/promises'
import { Agent, createServer, get, type IncomingMessage, type RequestListener } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { hashPassword, localUsers } from '../../lib/auth/passwords.ts'
import { createGate } from '../store/gate.ts'
import { until } from '../support/until.ts'
import { observeArgon2 } from './observed-argon2.ts'

const SIGN_INS = 500

const closing: (() => void)[] = []

afterEach(() => {
  vi.restoreAllMocks()
  for (const close of closing.splice(0)) close()
})

async function listening(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(
    () => server.close(() => undefined),
    () => server.closeAllConnections(),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function statusOf(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = get(url, { agent }, (res: IncomingMessage) => {
      res.resume().on('end', () => resolve(res.statusCode ?? 0))
    })
    sent.on('error', reject)
  })
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

function percentile(times: readonly number[], share: number): string {
  const sorted = [...times].sort((one, other) => one - other)
  return `${(sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(1)} ms`
}

describe('500 sign-ins at once', () => {
  it('run 2 hashes at a time; what is too much is refused, and everything else goes on', async () => {
    const passwordHash = await hashPassword('right')
    const authenticate = localUsers({ find: async () => ({ id: 1, passwordHash }) })
    const refusalTimes: number[] = []
    const origin = await listening((req, res) => {
      if (req.url === '/health') return res.end('well')
      const start = performance.now()
      return authenticate({ grant: 'password', username: 'ann', password: 'right', req }).then(
        () => res.end('done'),
        (error: { readonly status: number }) => {
          refusalTimes.push(performance.now() - start)
          res.writeHead(error.status).end()
        },
      )
    })
    const observed = observeArgon2()
    const agent = new Agent({ keepAlive: true })
    const beside = new Agent({ keepAlive: true })
    closing.push(
      () => agent.destroy(),
      () => beside.destroy(),
    )

    let isOver = false
    const healthTimes: number[] = []
    const lookupTimes: number[] = []
    const watching = (async () => {
      while (!isOver) {
        healthTimes.push(
          await timed(async () => expect(await statusOf(`${origin}/health`, beside)).toBe(200)),
        )
        lookupTimes.push(await timed(() => lookup('localhost')))
      }
    })()
    const statuses = await Promise.all(
      Array.from({ length: SIGN_INS }, () => statusOf(`${origin}/token`, agent)),
    )
    isOver = true
    await watching

    const done = statuses.filter((status) => status === 200).length
    expect(observed.mostRunning).toBe(2)
    expect(observed.verified).toHaveLength(done)
    expect(done).toBeGreaterThanOrEqual(18)
    expect(done).toBeLessThan(SIGN_INS)
    expect(statuses.filter((status) => status === 503)).toHaveLength(SIGN_INS - done)
    expect(refusalTimes).toHaveLength(SIGN_INS - done)
    expect(healthTimes.length).toBeGreaterThan(0)
    console.log(
      `${done} of ${SIGN_INS} signed in; refused within ${percentile(refusalTimes, 0.99)} (p99), ${percentile(refusalTimes, 1)} (max); ` +
        `another route p99 ${percentile(healthTimes, 0.99)}, dns.lookup max ${percentile(lookupTimes, 1)}`,
    )
  })

  it('are refused, and other routes and lookups served, while not one hash has ended', async () => {
    const passwordHash = await hashPassword('right')
    const authenticate = localUsers({ find: async () => ({ id: 1, passwordHash }) })
    let refused = 0
    const origin = await listening((req, res) => {
      if (req.url === '/health') return res.end('well')
      return authenticate({ grant: 'password', username: 'ann', password: 'right', req }).then(
        () => res.end('done'),
        (error: { readonly status: number }) => {
          refused += 1
          res.writeHead(error.status).end()
        },
      )
    })
    const held = createGate()
    // A fake that hashes no sooner than it is let: what waited for a hash would wait for ever.
    vi.spyOn(createRequire(import.meta.url)('@node-rs/argon2'), 'verify').mockImplementation(async () => {
      await held.opened
      return true
    })
    const agent = new Agent({ keepAlive: true })
    closing.push(() => agent.destroy())
    const signIns = Array.from({ length: SIGN_INS }, () => statusOf(`${origin}/token`, agent))
    await until(() => refused === SIGN_INS - 18)

    expect(await statusOf(`${origin}/health`, agent)).toBe(200)
    expect((await lookup('localhost')).address).toBeTruthy()
    held.open()
    const statuses = await Promise.all(signIns)
    expect(statuses.filter((status) => status === 200)).toHaveLength(18)
    expect(statuses.filter((status) => status === 503)).toHaveLength(SIGN_INS - 18)
  })
})
