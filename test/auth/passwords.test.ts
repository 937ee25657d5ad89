import { createHash } from 'node:crypto'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { hash, parseOptions, verify } from '@node-rs/argon2'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  hashPassword,
  type LocalUser,
  type LocalUsersOptions,
  localUsers,
  type PasswordProblem,
  type Rehash,
} from '../../lib/auth/passwords.ts'
import { until } from '../support/until.ts'
import { observeArgon2 } from './observed-argon2.ts'

const PASSWORD = 'correct horse battery staple'
const req = new IncomingMessage(new Socket())
const current = await hashPassword(PASSWORD)

afterEach(() => {
  vi.restoreAllMocks()
})

function credentials(username: string, password = PASSWORD) {
  return { grant: 'password', username, password, req } as const
}

const nobody = async (): Promise<undefined> => undefined

function usersWith(users: Readonly<Record<string, LocalUser>>, options: Partial<LocalUsersOptions> = {}) {
  return localUsers({ find: async (username) => users[username], ...options })
}

describe('A sign-in by password', () => {
  it('returns the user with the profile, and nothing else of the record', async () => {
    const users = usersWith({ ann: { id: 7, passwordHash: current, profile: { email: 'ann@app.example' } } })

    expect(await users(credentials('ann'))).toEqual({ user: { id: 7, email: 'ann@app.example' } })
  })

  it('takes the password as it was sent: of any script, with NUL, up to 1,024 bytes', async () => {
    for (const password of ['пароль', 'a\0b', 'é', 'x'.repeat(1024), '']) {
      const users = usersWith({ ann: { id: 1, passwordHash: await hashPassword(password) } })
      expect(await users(credentials('ann', password))).toBeDefined()
      expect(await users(credentials('ann', `${password}x`))).toBeUndefined()
    }
    const users = usersWith({ ann: { id: 1, passwordHash: await hashPassword('é') } })
    expect(await users(credentials('ann', 'e\u0301'))).toBeUndefined()
  })

  it('lets an error of "find" through: it is an outage, not a wrong password', async () => {
    const users = localUsers({ find: () => Promise.reject(new Error('database away')) })

    await expect(users(credentials('ann'))).rejects.toThrow('database away')
  })
})

describe('Whoever may not sign in', () => {
  const stranger = '$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234'
  const cases: Record<string, [LocalUser | undefined, string]> = {
    'an unknown user': [undefined, PASSWORD],
    'a wrong password': [{ id: 1, passwordHash: current }, 'wrong'],
    'a disabled user': [{ id: 1, passwordHash: current, disabled: true }, PASSWORD],
    'a locked user': [{ id: 1, passwordHash: current, locked: true }, PASSWORD],
    'a user without a password': [{ id: 1, passwordHash: null }, PASSWORD],
    'a user with a hash of something else': [{ id: 1, passwordHash: stranger }, PASSWORD],
  }

  it.each(Object.keys(cases))(
    'gets nothing, after exactly one verification with current parameters: %s',
    async (name) => {
      const [user, password] = cases[name] ?? []
      const authenticate = localUsers({ find: async () => user })
      const observed = observeArgon2()

      expect(await authenticate(credentials('ann', password))).toBeUndefined()
      expect(observed.verified).toHaveLength(1)
      expect(parseOptions(observed.verified[0] ?? '')).toEqual(parseOptions(current))
      expect(observed.hashed).toBe(0)
    },
  )

  it('gets nothing for a password of more than 1,024 bytes, before the user is looked for', async () => {
    const find = vi.fn()
    const observed = observeArgon2()

    expect(await localUsers({ find })(credentials('ann', 'ü'.repeat(513)))).toBeUndefined()
    expect(find).not.toHaveBeenCalled()
    expect(observed.verified).toEqual([])
    await expect(hashPassword('x'.repeat(1025))).rejects.toBeInstanceOf(RangeError)
  })
})

describe('A stored hash', () => {
  const salt = Buffer.from('0123456789abcdef')
  const weak = () => hash(PASSWORD, { memoryCost: 8192, timeCost: 1, salt })
  const dear = (parameters: string, saltText = 'MDEyMzQ1Njc4OWFiY2RlZg', output = 'A'.repeat(43)) =>
    `$argon2id$v=19$${parameters}$${saltText}$${output}`

  it.each([
    ['memory', dear('m=65537,t=1,p=1')],
    ['passes', dear('m=8192,t=11,p=1')],
    ['lanes', dear('m=19456,t=2,p=5')],
    ['work', dear('m=65536,t=5,p=1')],
    ['a short salt', dear('m=19456,t=2,p=1', 'MDEyMzQ1Ng')],
    ['a short output', dear('m=19456,t=2,p=1', undefined, 'A'.repeat(20))],
    ['a long output', dear('m=19456,t=2,p=1', undefined, 'A'.repeat(87))],
    ['argon2i', dear('m=19456,t=2,p=1').replace('argon2id', 'argon2i')],
    ['another form', createHash('md5').update(PASSWORD).digest('hex')],
  ])('with too much of it is never verified, and is reported: %s', async (_, passwordHash) => {
    const problems: PasswordProblem[] = []
    const users = usersWith(
      { ann: { id: 1, passwordHash } },
      { onProblem: (problem) => problems.push(problem) },
    )
    const observed = observeArgon2()

    expect(await users(credentials('ann'))).toBeUndefined()
    expect(problems).toEqual([{ kind: 'unusable-hash', userId: 1 }])
    expect(observed.verified).not.toContain(passwordHash)
    expect(observed.verified).toHaveLength(1)
  })

  it('that is weaker is replaced after a sign-in, naming the one that it replaces', async () => {
    const updates: Rehash[] = []
    const passwordHash = await weak()
    const users = usersWith({ ann: { id: 1, passwordHash } }, { update: (rehash) => updates.push(rehash) })

    expect(await users(credentials('ann', 'wrong'))).toBeUndefined()
    expect(await users(credentials('ann'))).toBeDefined()
    const [update] = await until(() => updates.length > 0 && updates)
    expect(update).toEqual({ id: 1, passwordHash: expect.any(String), replaces: passwordHash })
    expect(parseOptions(update?.passwordHash ?? '')).toEqual(parseOptions(current))
    expect(await verify(update?.passwordHash ?? '', PASSWORD)).toBe(true)
    expect(updates).toHaveLength(1)
  })

  it.each([
    ['current', () => current],
    ['stronger', () => hash(PASSWORD, { memoryCost: 47_104, timeCost: 1 })],
  ])('that is %s stays', async (_, make) => {
    const observed = { made: await make() }
    const users = usersWith(
      { ann: { id: 1, passwordHash: observed.made } },
      { update: () => expect.unreachable() },
    )
    const counts = observeArgon2()

    expect(await users(credentials('ann'))).toBeDefined()
    expect(counts.hashed).toBe(0)
  })

  it('that cannot be replaced does not fail the sign-in, and is reported', async () => {
    const problems: PasswordProblem[] = []
    const users = usersWith(
      { ann: { id: 1, passwordHash: await weak() } },
      {
        update: () => Promise.reject(new Error('read-only')),
        onProblem: (problem) => problems.push(problem),
      },
    )

    expect(await users(credentials('ann'))).toBeDefined()
    const [problem] = await until(() => problems.length > 0 && problems)
    expect(problem).toMatchObject({ kind: 'rehash-failed', userId: 1, error: { message: 'read-only' } })
  })
})

describe('The queue of hashes', () => {
  it('runs 2 at a time, lets 16 wait in the order of their coming, and refuses the others at once with 503', async () => {
    const records: LocalUser[] = []
    for (let id = 0; id < 60; id += 1)
      records.push({ id, passwordHash: id < 18 ? await hashPassword(PASSWORD) : current })
    const users = localUsers({ find: async (username) => records[Number(username)] })
    const observed = observeArgon2()

    const outcomes = await Promise.all(
      records.map(({ id }) =>
        users(credentials(String(id))).then(
          () => 'done',
          (error: unknown) => error,
        ),
      ),
    )

    const refused = outcomes.slice(18)
    expect(observed.mostRunning).toBe(2)
    expect(observed.verified).toEqual(records.slice(0, 18).map(({ passwordHash }) => passwordHash))
    expect(outcomes.slice(0, 18)).toEqual(Array(18).fill('done'))
    for (const error of refused) expect(error).toMatchObject({ status: 503, headers: { 'Retry-After': '1' } })
  })

  it('counts unknown users and new hashes as well', async () => {
    const users = usersWith({})
    const observed = observeArgon2()
    const signIns = Array.from({ length: 12 }, () => users(credentials('nobody')))
    const hashes = Array.from({ length: 12 }, () => hashPassword(PASSWORD))
    const outcomes = await Promise.allSettled([...signIns, ...hashes])

    expect(observed.mostRunning).toBe(2)
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(6)
  })

  it('frees the places of those that failed, and of a "find" that never returns', async () => {
    const failing = localUsers({ find: () => Promise.reject(new Error('away')) })
    const hanging = localUsers({ find: () => new Promise(() => undefined) })
    await Promise.allSettled(Array.from({ length: 18 }, () => failing(credentials('ann'))))
    const hung = Array.from({ length: 18 }, () => hanging(credentials('ann')))
    const users = usersWith({ ann: { id: 1, passwordHash: current } })

    await expect(users(credentials('ann'))).rejects.toMatchObject({ status: 503 })
    for (const outcome of await Promise.allSettled(hung))
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ERR_AUTH_UNAVAILABLE' } })
    expect(await users(credentials('ann'))).toBeDefined()
  })

  it('does not hash for a client that has gone', async () => {
    const socket = new Socket()
    const gone = new IncomingMessage(socket)
    socket.destroy()
    const users = usersWith({ ann: { id: 1, passwordHash: current } })
    const observed = observeArgon2()

    await expect(users({ ...credentials('ann'), req: gone })).rejects.toMatchObject({ status: 503 })
    expect(observed.verified).toEqual([])
  })
})

describe('The options of localUsers', () => {
  it.each([
    ['find', {}],
    ['update', { find: nobody, update: 1 }],
    ['onProblem', { find: nobody, onProblem: 'log' }],
    ['findUser', { find: nobody, findUser: nobody }],
  ])('name what is wrong with "%s"', (name, options) => {
    expect(() => localUsers(options as unknown as LocalUsersOptions)).toThrow(`"${name}"`)
  })
})
