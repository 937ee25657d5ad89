import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { jsonOf, runCli, startCli } from './cli.ts'

const SECRET = randomBytes(32).toString('hex')

let valkey: ValkeyServer
let folder: string
let env: Record<string, string>
let store: ValkeyStore

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cli-test-'))
  valkey = await startValkey()
  env = { VALKEY_URL: valkey.url, SESSION_KEY: SECRET }
  store = new ValkeyStore({
    connection: { url: valkey.url },
    secrets: [SECRET],
    device: () => ({ browser: 'Firefox' }),
  })
})
afterAll(async () => {
  await store.close()
  await valkey.stop()
  rmSync(folder, { recursive: true, force: true })
})

const cookie = { originalMaxAge: null, path: '/' }

/** A stored session; answers its id and handle. */
async function signIn(userId?: string): Promise<{ sid: string; handle: string }> {
  const sid = randomBytes(24).toString('base64url')
  const session = userId === undefined ? { cookie } : { cookie, userId, cart: ['secret book'] }
  await store.set(sid, session as never)
  return { sid, handle: store.handle(sid) }
}

describe('The program', () => {
  it('lists its commands, shows the options of each, and says its version', async () => {
    const all = await runCli([])
    const one = await runCli(['help', 'sessions', 'list'])
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

    expect(all).toMatchObject({ code: 0, stdout: expect.stringContaining('sessions end-all') })
    expect(one).toMatchObject({ code: 0, stdout: expect.stringContaining('--user ID') })
    expect(await runCli(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` })
  })

  it('exits with 2 when it cannot understand its command line, and quotes none of it', async () => {
    const wrong = [
      ['sesions'],
      ['stats', '--ulr', 'valkey://:hunter2@127.0.0.1'],
      ['stats', '--url=hunter2'],
      ['stats', '--rate', '0', '--url', valkey.url],
      ['stats', 'hunter2'],
      ['sessions', 'end', 'hunter2'],
      ['sessions', 'end'],
      ['sessions', 'end-all'],
      ['acl', '--form', 'hunter2'],
      ['doctor', '--nodes', 'hunter2'],
      ['doctor', '--url', 'valkey://127.0.0.1', '--nodes', '127.0.0.1:1'],
      ['doctor', '--url', 'valkey://hunter2@203.0.113.9'],
    ]
    for (const words of wrong) {
      const ran = await runCli(words, { SESSION_KEY: SECRET })
      expect({ words, code: ran.code, stdout: ran.stdout }).toEqual({ words, code: 2, stdout: '' })
      expect(ran.stderr).not.toContain('hunter2')
    }
  })

  it('exits with 2 without a place or secrets, and with 2 for a secret that is none', async () => {
    expect((await runCli(['stats'])).code).toBe(2)
    expect((await runCli(['sessions', 'count'], { VALKEY_URL: valkey.url })).code).toBe(2)
    const short = await runCli(['sessions', 'count'], { VALKEY_URL: valkey.url, SESSION_KEY: 'hunter2' })
    expect(short.code).toBe(2)
    expect(short.stderr).not.toContain('hunter2')
  })

  it('exits with 3 when the server cannot be reached, and says so in JSON', async () => {
    const ran = await runCli(['stats', '--url', 'valkey://127.0.0.1:1', '--json'])

    expect(ran.code).toBe(3)
    expect(JSON.parse(ran.stdout)).toMatchObject({
      exitCode: 3,
      error: expect.stringContaining('ECONNREFUSED'),
    })
  })
})

describe('keygen', () => {
  it('makes a secret that a store accepts, another each time', async () => {
    const [one, other] = [(await runCli(['keygen'])).stdout.trim(), (await runCli(['keygen'])).stdout.trim()]

    expect(one).toMatch(/^[0-9a-f]{64}$/)
    expect(one).not.toBe(other)
    await new ValkeyStore({ connection: { url: valkey.url }, secrets: [one] }).close()
  })

  it('puts it before or after those of a file, which only its owner may read', async () => {
    const file = join(folder, 'secrets')
    writeFileSync(file, 'old\n')
    const first = await runCli(['keygen', '--secrets-file', file])
    await runCli(['keygen', '--secrets-file', file, '--last'])
    const lines = readFileSync(file, 'utf8').trim().split('\n')

    expect(first).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect([lines.length, lines[1]]).toEqual([3, 'old'])
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })
})

describe('doctor', () => {
  it('shows each finding with cause and cure, and exits with 0 when none is an error', async () => {
    await valkey.client().config('SET', 'maxmemory-policy', 'noeviction')
    const ran = await runCli(['doctor'], env)

    expect(ran.code).toBe(0)
    expect(ran.stdout).toMatch(/^SEVERITY +CODE +CAUSE +CURE\n/)
    expect(ran.stdout).toMatch(/warning +append-only-off /)
  })

  it('exits with 1 when one is, with and without secrets', async () => {
    await valkey.client().config('SET', 'maxmemory-policy', 'allkeys-lru')
    const codesOf = async (environment: Record<string, string>) => {
      const { findings } = await jsonOf<{ findings: { code: string; severity: string }[] }>(
        ['doctor'],
        environment,
      )
      return findings.filter(({ severity }) => severity === 'error').map(({ code }) => code)
    }

    expect(await codesOf(env)).toEqual(['eviction-policy'])
    expect(await codesOf({ VALKEY_URL: valkey.url })).toEqual(['eviction-policy'])
    expect((await runCli(['doctor'], env)).code).toBe(1)
    await valkey.client().config('SET', 'maxmemory-policy', 'noeviction')
  })
})

describe('sessions', () => {
  it("list shows a user's, with --ended those that ended too, and never an id", async () => {
    const { sid, handle } = await signIn('alice')
    const other = await signIn('alice')
    await runCli(['sessions', 'end', other.handle, '--reason', 'lost-laptop', '--actor', 'bob'], env)
    const active = await runCli(['sessions', 'list', '--user', 'alice'], env)
    const { sessions } = await jsonOf<{ sessions: object[] }>(
      ['sessions', 'list', '--user', 'alice', '--ended'],
      env,
    )

    expect(active.stdout).toContain(handle)
    expect(active.stdout).not.toContain(other.handle)
    expect(active.stdout).not.toContain(sid)
    expect(sessions).toMatchObject([
      { handle, status: 'active' },
      { handle: other.handle, ending: { reason: 'lost-laptop', actor: { type: 'operator', id: 'bob' } } },
    ])
  })

  it("count counts a user's, or all", async () => {
    await signIn('carol')
    await signIn('carol')

    expect(await jsonOf(['sessions', 'count', '--user', 'carol'], env)).toEqual({ sessions: 2 })
    expect(await jsonOf(['sessions', 'count'], env)).toMatchObject({ sessions: (await store.ids()).length })
  })

  it('list without a user prints the handle of each', async () => {
    const { stdout } = await runCli(['sessions', 'list'], env)

    expect(stdout.trim().split('\n').sort()).toEqual((await store.ids()).sort())
  })

  it('show shows times, device and names of keys, and no content', async () => {
    const { handle } = await signIn('dave')
    const ran = await runCli(['sessions', 'show', handle], env)

    expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(/keys +.*userId, cart|keys +.*cart/) })
    expect(ran.stdout).not.toContain('secret book')
    expect(ran.stdout).not.toContain(SECRET)
  })

  it('end ends one for good, says so of one that had ended, and exits with 4 for one that is not there', async () => {
    const { sid, handle } = await signIn('erin')

    expect(await runCli(['sessions', 'end', handle], env)).toMatchObject({ code: 0, stdout: 'ended\n' })
    expect(await store.get(sid)).toBeNull()
    expect(await runCli(['sessions', 'end', handle], env)).toMatchObject({ stdout: 'already-ended\n' })
    const nobody = randomBytes(32).toString('base64url')
    expect(await runCli(['sessions', 'end', nobody], env)).toMatchObject({ code: 4, stdout: 'not-found\n' })
  })

  it('end-all ends all of a user, but for the one to keep', async () => {
    const [kept, ...others] = await Promise.all([signIn('frank'), signIn('frank'), signIn('frank')])
    const words = ['sessions', 'end-all', '--user', 'frank', '--except', kept.handle]
    const { ended } = await jsonOf<{ ended: string[] }>(words, env)

    expect(ended.sort()).toEqual(others.map(({ handle }) => handle).sort())
    expect(await store.get(kept.sid)).toMatchObject({ userId: 'frank' })
  })
})

describe('A handle that begins with a dash', () => {
  it('is no option, neither alone nor as the value of one', async () => {
    const handle = `-${randomBytes(32).toString('base64url').slice(1)}`

    expect(await runCli(['inspect', handle, '--json'], env)).toMatchObject({ code: 4 })
    expect(await runCli(['sessions', 'end', '--json', handle], env)).toMatchObject({ code: 4 })
    const sparing = await runCli(['sessions', 'end-all', '--user', 'nobody', '--except', handle], env)
    expect(sparing.code).not.toBe(2)
  })
})

describe('inspect', () => {
  it('says of a session that it opens, and why another does not', async () => {
    const { handle } = await signIn('grace')
    const verdictOf = async (name: string, words: string[] = [], environment = env) => {
      const ran = await runCli(['inspect', name, '--json', ...words], environment)
      const { verdict } = JSON.parse(ran.stdout) as { verdict: string }
      return [ran.code, verdict]
    }
    const client = valkey.client()
    const value = await client.getBuffer(`sess:r:{${handle}}`)
    const other = randomBytes(32).toString('base64url')
    await client.set(`sess:r:{${other}}`, value ?? '')
    const odd = randomBytes(32).toString('base64url')
    await client.set(`sess:r:{${odd}}`, 'what is this')
    const another = randomBytes(32).toString('hex')

    expect(await verdictOf(handle)).toEqual([0, expect.stringContaining('it opens')])
    expect(await verdictOf(other)).toEqual([1, expect.stringContaining('MAC is wrong')])
    expect(await verdictOf(odd)).toEqual([1, expect.stringContaining('no record')])
    expect(await verdictOf(handle, ['--encrypt'])).toEqual([1, expect.stringContaining('it is signed')])
    expect(await verdictOf(handle, [], { ...env, SESSION_KEY: another })).toEqual([
      1,
      expect.stringContaining('key id is unknown'),
    ])
    expect(await verdictOf(randomBytes(32).toString('base64url'))).toEqual([
      4,
      expect.stringContaining('nothing stands there'),
    ])
    await client.del(`sess:r:{${other}}`, `sess:r:{${odd}}`)
  })

  it('says how a session was ended, and that one has lost its place', async () => {
    const [ended, lost] = [await signIn('heidi'), await signIn('ivan')]
    await store.registry.end({ handle: ended.handle }, { reason: 'stolen' })
    const client = valkey.client()
    const owner = String(await client.getrange(`sess:r:{${lost.handle}}`, 27, 69))
    await client.del(...['o', 'x', 'p', 's', 'd', 'u'].map((letter) => `sess:${letter}:{${owner}}`))

    expect(await jsonOf(['inspect', ended.handle], env)).toMatchObject({ state: 'ended', reason: 'stolen' })
    expect(await jsonOf(['inspect', lost.handle], env)).toMatchObject({
      state: 'unusable',
      verdict: expect.stringContaining('no place'),
    })
    await client.del(`sess:r:{${lost.handle}}`)
  })
})

describe('watch', () => {
  it("reports endings of a user's, or of all, until SIGINT", async () => {
    const { handle } = await signIn('judy')
    const other = await signIn()
    const [user, all] = [
      startCli(['watch', '--user', 'judy', '--json'], env),
      startCli(['watch', '--json'], env),
    ]
    await until(() => [user, all].every((each) => each.stderr().includes('Watching')), { withinMs: 30_000 })
    await store.registry.end({ handle: other.handle }, { reason: 'swept' })
    await store.registry.end({ handle }, { reason: 'fired', actor: { type: 'admin' } })
    const isTold = () => user.stdout().includes(handle) && all.stdout().includes(handle)
    await until(isTold, { withinMs: 60_000, what: 'both have reported the ending' })
    user.kill('SIGINT')
    all.kill('SIGINT')
    const lines = (text: string) =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object)

    const ending = { handle, reason: 'fired', actor: { type: 'admin' } }
    expect(lines((await user.finished).stdout)).toMatchObject([ending])
    expect((await all.finished).code).toBe(0)
    expect(lines(all.stdout())).toEqual(
      expect.arrayContaining([
        expect.objectContaining(ending),
        expect.objectContaining({ handle: other.handle, reason: 'swept' }),
      ]),
    )
  })
})

describe('acl', () => {
  it('prints the rights that docs/VALKEY.md lists', async () => {
    const page = readFileSync('docs/VALKEY.md', 'utf8')
    const [, documented = ''] = /ACL SETUSER app on >password ([^`]*)```/.exec(page) ?? []
    const { rules } = await jsonOf<{ rules: string }>(['acl'])

    expect(rules.split(/\s+/)).toEqual(documented.trim().split(/\s+/))
  })

  it.each(['valkey-cli', 'aclfile'])(
    'prints a line for %s that a server takes, and that suffices',
    async (form) => {
      const password = 'hunter2'
      const line = await runCli(['acl', '--form', form, '--prefix', 'shop'], {
        VALKEY_APP_PASSWORD: password,
      })
      const words = line.stdout.trim().split(' ')
      // An aclfile's line begins with `user`, a command with `ACL SETUSER`; rules are the same.
      await valkey.client().call('ACL', 'SETUSER', ...words.slice(form === 'aclfile' ? 1 : 2))
      const user = { ...env, VALKEY_USERNAME: 'app', VALKEY_PASSWORD: password }
      const { findings } = await jsonOf<{ findings: { code: string }[] }>(
        ['doctor', '--prefix', 'shop'],
        user,
      )

      expect(line.stdout).not.toContain(password)
      expect(findings.map(({ code }) => code)).not.toContain('missing-right')
      expect(findings.map(({ code }) => code)).not.toContain('unreachable')
      await valkey.client().call('ACL', 'DELUSER', 'app')
    },
  )

  it('quotes for a shell what a shell would take for its own', async () => {
    const { stdout } = await runCli(['acl', '--form', 'shell', '--cluster'])

    expect(stdout).toMatch(/^valkey-cli ACL SETUSER app reset on '>PASSWORD' resetchannels '&sess:n'/)
    expect(stdout).toContain("'+cluster|slots'")
  })
})
