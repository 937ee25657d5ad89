import { createSecretKey, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { StoreSecretsError } from '../../lib/errors.ts'
import { Keyring } from '../../lib/seal/keyring.ts'
import type { Secret, Secrets } from '../../lib/seal/secret.ts'

const A = 'the first secret, long enough to be one'
const B = randomBytes(32)
const C = createSecretKey(randomBytes(40))

// What a caller without types can pass.
function construct(secrets: unknown): Keyring {
  return new Keyring(secrets as Secrets)
}

async function failure(keyring: Keyring): Promise<unknown> {
  return keyring.load().then(
    () => undefined,
    (error: unknown) => error,
  )
}

async function idOf(secret: Secret): Promise<Buffer> {
  const { first } = await new Keyring([secret]).load()
  return first.id
}

describe('a Keyring of a list', () => {
  test('has the first secret first and finds each by its id', async () => {
    const keys = await new Keyring([A, B, C]).load()

    expect(keys.first.id).toEqual(await idOf(A))
    expect(keys.find(await idOf(A))).toBe(keys.first)
    expect(keys.find(await idOf(B))?.id).toEqual(await idOf(B))
    expect(keys.find(await idOf(C))?.id).toEqual(await idOf(C))
  })

  test('finds nothing for 1,000 other ids, odd ones among them', async () => {
    const keys = await new Keyring([A, B]).load()
    const odd = ['', '__proto__', 'constructor', 'toString', 'x'.repeat(10_000)].map((text) =>
      Buffer.from(text),
    )
    const near = [
      keys.first.id.subarray(0, 7),
      Buffer.concat([keys.first.id, Buffer.alloc(1)]),
      Buffer.alloc(8),
    ]
    const random = Array.from({ length: 992 }, () => randomBytes(8))

    const found = [...odd, ...near, ...random].filter((id) => keys.find(id) !== undefined)

    expect(found).toEqual([])
  })

  test('does not follow later changes of the list', async () => {
    const list: Secret[] = [A]
    const keyring = new Keyring(list)

    list[0] = B

    expect((await keyring.load()).first.id).toEqual(await idOf(A))
  })

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a bare string', A],
    ['a bare Buffer', B],
    ['an object', { 0: A, length: 1 }],
    ['a promise', Promise.resolve([A])],
    ['an empty list', []],
  ])('refuses %s', (_, secrets) => {
    expect(() => construct(secrets)).toThrow(TypeError)
    expect(() => construct(secrets)).toThrow(
      /^Option "secrets" must be a list of at least one secret, or a function/,
    )
  })

  test('names the place of a wrong secret', () => {
    expect(() => construct([A, undefined])).toThrow(/^Option "secrets\[1\]" must be a string/)
    expect(() => construct([A, B, 'short'])).toThrow(/^Option "secrets\[2\]" must be at least 32 bytes/)
    const withHole: Secret[] = []
    withHole[1] = A
    expect(() => construct(withHole)).toThrow(/^Option "secrets\[0\]" must be a string/)
  })

  test('refuses the same secret twice, in whatever form', () => {
    expect(() => construct([A, B, A])).toThrow(/^Option "secrets\[2\]" must be different/)
    expect(() => construct([A, Buffer.from(A)])).toThrow(/^Option "secrets\[1\]" must be different/)
    expect(() => construct([B, createSecretKey(B)])).toThrow(/^Option "secrets\[1\]" must be different/)
  })
})

describe('a Keyring of a function', () => {
  test('calls it on first use, not before, and once', async () => {
    const source = vi.fn(async () => [A, B])
    const keyring = new Keyring(source)

    expect(source).not.toHaveBeenCalled()
    const [first, second, third] = await Promise.all([keyring.load(), keyring.load(), keyring.load()])
    const later = await keyring.load()

    expect(source).toHaveBeenCalledTimes(1)
    expect(new Set([first, second, third, later]).size).toBe(1)
    expect(first.first.id).toEqual(await idOf(A))
  })

  test('takes a function that answers at once', async () => {
    expect((await new Keyring(() => [A]).load()).first.id).toEqual(await idOf(A))
  })

  test.each([
    ['rejects', () => Promise.reject(new Error(`no access to ${A}`))],
    [
      'throws',
      () => {
        throw new Error(`no access to ${A}`)
      },
    ],
    ['rejects with no error', () => Promise.reject(A)],
  ])('fails with StoreSecretsError and without its words if it %s', async (_, source) => {
    const error = await failure(new Keyring(source))

    expect(error).toBeInstanceOf(StoreSecretsError)
    expect(error).toMatchObject({ code: 'ERR_STORE_SECRETS', status: 503 })
    expect(error).not.toHaveProperty('cause')
    expect(inspect(error, { showHidden: true, depth: 10 })).not.toContain(A)
  })

  test.each([
    ['nothing', undefined, /"secrets" must be a list/],
    ['a string', A, /"secrets" must be a list/],
    ['an empty list', [], /"secrets" must be a list/],
    ['a short secret', [A, 'shorty'], /"secrets\[1\]" must be at least 32 bytes/],
    ['a secret twice', [A, A], /"secrets\[1\]" must be different/],
  ])('fails with StoreSecretsError if it gives %s', async (_, given, message) => {
    const error = await failure(construct(async () => given))

    expect(error).toBeInstanceOf(StoreSecretsError)
    expect(error).toHaveProperty('message', expect.stringMatching(message))
    expect(inspect(error, { showHidden: true })).not.toMatch(/shorty|the first secret/)
  })

  test.each([
    ['rejected', async () => Promise.reject(new Error('down'))],
    [
      'threw',
      () => {
        throw new Error('down')
      },
    ],
    ['gave a wrong list', () => []],
  ])('asks again after it %s', async (_, fail) => {
    const source = vi
      .fn<() => Promise<Secret[]> | Secret[]>()
      .mockImplementationOnce(fail)
      .mockImplementation(() => [A])
    const keyring = new Keyring(source)

    expect(await failure(keyring)).toBeInstanceOf(StoreSecretsError)
    const keys = await keyring.load()

    expect(keys.first.id).toEqual(await idOf(A))
    expect(source).toHaveBeenCalledTimes(2)
  })

  test('lets all who wait share one failure', async () => {
    const source = vi.fn(() => Promise.reject(new Error('down')))
    const keyring = new Keyring(source)

    const errors = await Promise.all([failure(keyring), failure(keyring), failure(keyring)])

    expect(errors.map((error) => error instanceof StoreSecretsError)).toEqual([true, true, true])
    expect(source).toHaveBeenCalledTimes(1)
  })
})

describe('a Keyring of a function that hangs', () => {
  test('rejects with the typed error in time, and asks again on the next use', async () => {
    const fetchSecrets = vi.fn<() => Promise<Secret[]>>()
    fetchSecrets.mockReturnValueOnce(new Promise(() => {})).mockResolvedValue([A])
    const keyring = new Keyring(fetchSecrets)

    const errors = await Promise.all([failure(keyring), failure(keyring)])

    expect(errors).toEqual(Array(2).fill(expect.any(StoreSecretsError)))
    expect(errors[0]).toMatchObject({ message: expect.stringContaining('did not answer within') })
    expect(fetchSecrets).toHaveBeenCalledTimes(1)
    expect((await keyring.load()).first.id).toEqual(await idOf(A))
    expect(fetchSecrets).toHaveBeenCalledTimes(2)
  })

  test('takes an answer that comes late, and asks nobody again', async () => {
    let answer: (secrets: Secret[]) => void = () => {}
    const fetchSecrets = vi.fn(() => new Promise<Secret[]>((resolve) => (answer = resolve)))
    const keyring = new Keyring(fetchSecrets)
    await failure(keyring)

    answer([A])
    await new Promise((resolve) => setImmediate(resolve))

    expect((await keyring.load()).first.id).toEqual(await idOf(A))
    expect(fetchSecrets).toHaveBeenCalledTimes(1)
  })
})
