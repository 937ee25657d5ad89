import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import { describe, expect, it } from 'vitest'
import { createAccessTokens } from '../../lib/auth/access-token.ts'
import { InvalidTokenError, KeysUnavailableError } from '../../lib/auth/auth-errors.ts'
import { type SigningKey, SigningKeyring } from '../../lib/auth/signing-keys.ts'
import { TestClock } from '../support/clock.ts'

const MINUTE_MS = 60_000

function ecKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

function nodeWith(keys: readonly SigningKey[]) {
  return createAccessTokens({ issuer: 'https://app.example/auth', audience: 'api', keys })
}

async function tokenOf(node: ReturnType<typeof nodeWith>): Promise<string> {
  const subject = { sub: 'u1', sid: 'handle-1', clientId: 'first-party' }
  return (await node.issue({ ...subject, nowMs: Date.now(), endsAtMs: Number.POSITIVE_INFINITY })).token
}

describe('A signing key', () => {
  it('is a private JWK, a PEM or a KeyObject, and the same key in each form', async () => {
    const key = ecKey()
    const forms = [
      key,
      key.export({ format: 'jwk' }),
      key.export({ format: 'pem', type: 'pkcs8' }).toString(),
      key.export({ format: 'pem', type: 'sec1' }).toString(),
    ]
    const published = await Promise.all(forms.map(async (form) => (await nodeWith([form]).jwks()).keys))

    for (const keys of published) expect(keys).toEqual(published[0])
  })

  it('is published without its private part, under its RFC 7638 thumbprint, with alg and use', async () => {
    const key = ecKey()
    const jwk = createPublicKey(key).export({ format: 'jwk' })
    const ed = generateKeyPairSync('ed25519').privateKey
    const ofEd = new SigningKeyring([ed], 'EdDSA')

    expect((await nodeWith([key]).jwks()).keys).toEqual([
      {
        kty: 'EC',
        crv: 'P-256',
        x: jwk.x,
        y: jwk.y,
        kid: await calculateJwkThumbprint(jwk),
        alg: 'ES256',
        use: 'sig',
      },
    ])
    expect((await ofEd.load()).first.header.kid).toBe(
      await calculateJwkThumbprint(createPublicKey(ed).export({ format: 'jwk' })),
    )
  })

  it('that is a secret is never published', async () => {
    const list = await new SigningKeyring([randomBytes(32)], 'HS256').load()

    expect(list.published).toEqual([])
  })

  it.each<[string, unknown]>([
    ['a public KeyObject', createPublicKey(ecKey())],
    ['a public JWK', createPublicKey(ecKey()).export({ format: 'jwk' })],
    ['a public PEM', createPublicKey(ecKey()).export({ format: 'pem', type: 'spki' }).toString()],
    ['a key of another curve', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
    ['a key of RSA', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
    ['a key of Ed25519', generateKeyPairSync('ed25519').privateKey],
    ['a text', 'secret'],
    ['nothing', undefined],
  ])('is not %s, which is named without being shown', (_, key) => {
    expect(() => nodeWith([key as SigningKey])).toThrow(/^Option "keys\[0\]" must be a (private|P-256) key/)
  })

  it('is there at least once, and each only once', () => {
    const key = ecKey()

    expect(() => nodeWith([])).toThrow('at least one key')
    expect(() => nodeWith([key, key.export({ format: 'jwk' })])).toThrow('no key is there twice')
  })
})

describe('Rotation in the documented order', () => {
  it('leaves every token valid on every node, whether it has the next list yet or not', async () => {
    const [old, next] = [ecKey(), ecKey()]
    const steps = [[old], [old, next], [next, old]].map(nodeWith)

    for (const [at, node] of steps.entries()) {
      const token = await tokenOf(node)
      for (const neighbour of steps.slice(Math.max(at - 1, 0), at + 2))
        expect((await neighbour.verify(token)).sub).toBe('u1')
    }
    expect((await steps[1]?.jwks())?.keys).toHaveLength(2)
  })

  it('refuses what only the key signed that was removed', async () => {
    const [old, next] = [ecKey(), ecKey()]
    const token = await tokenOf(nodeWith([old]))

    await expect(nodeWith([next]).verify(token)).rejects.toBeInstanceOf(InvalidTokenError)
  })
})

describe('A function that fetches the keys', () => {
  function fetched(source: () => readonly SigningKey[] | Promise<readonly SigningKey[]>) {
    const clock = new TestClock(0)
    const calls = { count: 0 }
    const keyring = new SigningKeyring(
      () => {
        calls.count += 1
        return source()
      },
      'ES256',
      () => clock.now(),
    )
    return { keyring, clock, calls }
  }

  const headerOf = async (key: SigningKey): Promise<string> =>
    [...(await new SigningKeyring([key], 'ES256').load()).byHeader.keys()][0] ?? ''

  it('is called once however many wait, and again after 5 minutes, not for each token', async () => {
    const key = ecKey()
    const { keyring, clock, calls } = fetched(async () => [key])
    await Promise.all(Array.from({ length: 50 }, () => keyring.load()))
    clock.advance(5 * MINUTE_MS - 1)
    await keyring.load()
    expect(calls.count).toBe(1)

    clock.advance(1)
    await keyring.load()
    expect(calls.count).toBe(2)
  })

  it('brings a new key to a node that has been idle, before a token of it is refused', async () => {
    const [old, next] = [ecKey(), ecKey()]
    let keys = [old]
    const { keyring, clock } = fetched(async () => keys)
    await keyring.load()
    keys = [old, next]
    clock.advance(60 * MINUTE_MS)

    expect(await keyring.find(await headerOf(next))).toBeDefined()
  })

  it('that fails later leaves the keys of before in use, and makes unknown ones 503, not 401', async () => {
    const [known, unknown] = [ecKey(), ecKey()]
    let fails = false
    const { keyring, clock, calls } = fetched(async () => {
      if (fails) throw new Error('away')
      return [known]
    })
    await keyring.load()
    fails = true
    clock.advance(5 * MINUTE_MS)

    expect(await keyring.find(await headerOf(known))).toBeDefined()
    await expect(keyring.find(await headerOf(unknown))).rejects.toBeInstanceOf(KeysUnavailableError)
    await expect(keyring.find(await headerOf(unknown))).rejects.toBeInstanceOf(KeysUnavailableError)
    expect(calls.count).toBe(2)

    fails = false
    clock.advance(5000)
    expect(await keyring.find(await headerOf(unknown))).toBeUndefined()
  })

  it('that fails at first is asked again at the next use', async () => {
    let fails = true
    const { keyring } = fetched(() => {
      if (fails) throw new Error('away')
      return [ecKey()]
    })
    await expect(keyring.load()).rejects.toBeInstanceOf(KeysUnavailableError)
    fails = false

    expect((await keyring.load()).first).toBeDefined()
  })

  it.each<[string, () => unknown]>([
    ['hangs', () => new Promise(() => undefined)],
    ['returns no list', () => 'key'],
    ['returns an empty list', () => []],
    ['returns a wrong key', () => ['key']],
  ])('that %s is unavailable, within its deadline', async (_, source) => {
    const { keyring } = fetched(source as () => readonly SigningKey[])
    const error: unknown = await keyring.load().catch((reason: unknown) => reason)

    expect(error).toBeInstanceOf(KeysUnavailableError)
    expect(error).toMatchObject({ status: 503, code: 'ERR_AUTH_KEYS' })
  })
})
