import { describe, expect, test } from 'vitest'
import { SessionNotSerializableError, SessionTooLargeError } from '../../lib/errors.ts'
import { jsonSerializer, SessionCodec, type SessionSerializer, sameBody } from '../../lib/session/codec.ts'
import type { Content } from '../../lib/session/merge.ts'
import { MAX_DEPTH, sanitize } from '../../lib/session/sanitize.ts'

const MAX_BYTES = 1000

function codecOf(serializer: Partial<SessionSerializer>): SessionCodec {
  return new SessionCodec({ ...jsonSerializer, ...serializer }, MAX_BYTES, 1000)
}

const encoded = async (codec: SessionCodec, content: Content) => codec.encode(content)

const text = (value: string) => ({ bytes: Buffer.from(value), isText: true })

describe('encoding', () => {
  test('stores of the cookie only what storedCookie keeps', async () => {
    const live = { cookie: { originalMaxAge: 5000, expires: new Date(), path: '/', junk: 1 }, user: 'alice' }

    const body = await codecOf({}).encodeSession(live)

    expect(JSON.parse(body.bytes.toString())).toEqual({
      cookie: { originalMaxAge: 5000, path: '/' },
      user: 'alice',
    })
    expect(body.isText).toBe(true)
  })

  test('captures the session before it returns', async () => {
    const live = { cookie: {}, step: 1 }

    const encoding = codecOf({}).encodeSession(live)
    live.step = 2

    expect(JSON.parse((await encoding).bytes.toString())).toMatchObject({ step: 1 })
  })

  test('accepts exactly maxBytes, counted as bytes', async () => {
    const fitting = codecOf({ stringify: () => 'é'.repeat(MAX_BYTES / 2) })
    const tooLarge = codecOf({ stringify: () => `${'é'.repeat(MAX_BYTES / 2)}x` })

    expect((await fitting.encode({})).bytes).toHaveLength(MAX_BYTES)
    await expect(encoded(tooLarge, {})).rejects.toMatchObject({
      code: 'ERR_SESSION_TOO_LARGE',
      bytes: MAX_BYTES + 1,
      maxBytes: MAX_BYTES,
    })
    await expect(encoded(tooLarge, {})).rejects.toBeInstanceOf(SessionTooLargeError)
  })

  test('keeps its own copy of the bytes a serializer returns', async () => {
    const shared = Buffer.from('first')
    const body = await codecOf({ stringify: () => shared }).encode({})

    shared.write('later')

    expect(body).toEqual({ bytes: Buffer.from('first'), isText: false })
  })

  test.each([
    ['undefined', () => undefined],
    ['an object', () => ({})],
    ['a number', () => 5],
    ['a promise of null', async () => null],
    ['a list of numbers', () => [1, 2]],
  ])('refuses a serializer that returns %s', async (_, stringify) => {
    const codec = codecOf({ stringify: stringify as unknown as SessionSerializer['stringify'] })

    await expect(encoded(codec, {})).rejects.toBeInstanceOf(SessionNotSerializableError)
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('hunter2')
      },
    ],
    ['rejects', () => Promise.reject(new Error('hunter2'))],
  ])('hides what a serializer %s with', async (_, stringify) => {
    const error: unknown = await encoded(codecOf({ stringify }), {}).catch((reason: unknown) => reason)

    expect(error).toBeInstanceOf(SessionNotSerializableError)
    expect(`${String(error)} ${String((error as Error).cause)}`).not.toContain('hunter2')
  })
})

describe('decoding', () => {
  test('gives the content', async () => {
    expect(await codecOf({}).decode(text('{"a":1}'))).toEqual({ a: 1 })
  })

  test('hands a serializer back what it wrote: text as text, bytes as a Buffer', async () => {
    const seen: unknown[] = []
    const codec = codecOf({ parse: (stored) => ({ count: seen.push(stored) }) })

    await codec.decode(text('é'))
    await codec.decode({ bytes: Buffer.from('é'), isText: false })

    expect(seen).toEqual(['é', Buffer.from('é')])
  })

  test('waits for an async serializer', async () => {
    const parse = async () => ({ late: true })

    expect(await codecOf({ parse }).decode(text(''))).toEqual({ late: true })
  })

  test.each([
    ['no JSON', 'garbage'],
    ['null', 'null'],
    ['a list', '[]'],
    ['a text', '"x"'],
    ['a number', '5'],
    ['content nested too deeply', `{"a":${'['.repeat(64)}${']'.repeat(64)}}`],
  ])('refuses %s', async (_, stored) => {
    expect(await codecOf({}).decode(text(stored))).toBeUndefined()
  })

  test.each([
    ['throws', () => JSON.parse('{')],
    ['rejects', () => Promise.reject(new Error('no'))],
    ['returns a class instance', () => new Date()],
  ])('refuses what a serializer %s on', async (_, parse) => {
    expect(await codecOf({ parse }).decode(text('{}'))).toBeUndefined()
  })

  test('drops keys that reach prototypes', async () => {
    expect(JSON.stringify(await codecOf({}).decode(text('{"__proto__":{"a":1},"b":1}')))).toBe('{"b":1}')
  })

  test('does not let a parser change the body', async () => {
    const body = { bytes: Buffer.from('abc'), isText: false }

    await codecOf({ parse: (stored) => ({ cleared: Buffer.isBuffer(stored) && stored.fill(0) }) }).decode(
      body,
    )

    expect(body.bytes.toString()).toBe('abc')
  })
})

describe('sameBody', () => {
  test('tells bytes and their kind apart', () => {
    expect(sameBody(text('a'), text('a'))).toBe(true)
    expect(sameBody(text('a'), text('b'))).toBe(false)
    expect(sameBody(text('a'), { bytes: Buffer.from('a'), isText: false })).toBe(false)
  })
})

function nested(levels: number, wrap: (inner: unknown) => unknown): object {
  let inner: unknown = 1
  for (let level = 1; level < levels; level += 1) inner = wrap(inner)
  return { x: inner }
}

function failureOf(session: object): unknown {
  try {
    void jsonSerializer.stringify(session)
    return undefined
  } catch (error) {
    return error
  }
}

const cycle: Record<string, unknown> = {}
cycle['self'] = cycle

describe('the JSON serializer', () => {
  test('writes JSON and reads it from text and from bytes', async () => {
    const text = await jsonSerializer.stringify({ a: [1, 'é'] })

    expect(text).toBe('{"a":[1,"é"]}')
    expect(jsonSerializer.parse('{"a":1}')).toEqual({ a: 1 })
    expect(jsonSerializer.parse(Buffer.from('{"a":1}'))).toEqual({ a: 1 })
  })

  test.each([
    ['objects', (inner: unknown) => ({ y: inner })],
    ['lists', (inner: unknown) => [inner]],
    ['both', (inner: unknown) => ({ y: [inner] })],
  ])('writes exactly the depth of %s that a later load accepts', async (_, wrap) => {
    const outcomes = Array.from({ length: MAX_DEPTH + 5 }, (_, at) => nested(at + 1, wrap)).map(
      (session) => ({
        isWritten: failureOf(session) === undefined,
        isAccepted: sanitize(JSON.parse(JSON.stringify(session)) as object),
      }),
    )

    expect(outcomes.filter(({ isWritten, isAccepted }) => isWritten !== isAccepted)).toEqual([])
    expect(outcomes.filter(({ isWritten }) => isWritten)).not.toHaveLength(outcomes.length)
  })

  test('is not misled by brackets and escapes in text', () => {
    const session = { [`{["\\${'['.repeat(100)}`]: `\\"${'{'.repeat(100)}\\`, next: '\\' }

    expect(failureOf(session)).toBeUndefined()
  })

  test('counts the depth of what toJSON methods return', () => {
    expect(failureOf({ x: { toJSON: () => nested(MAX_DEPTH, (inner) => ({ y: inner })) } })).toMatchObject({
      message: expect.stringContaining('64 levels'),
    })
  })

  test.each([
    ['a BigInt', { visits: 1n }, 'visits'],
    ['a cycle', { fine: 1, cart: cycle }, 'cart'],
    ['a depth of 20,000', { tree: nested(20_000, (inner) => ({ y: inner })) }, undefined],
    [
      'a toJSON that throws',
      {
        at: {
          toJSON() {
            throw new Error('hunter2')
          },
        },
      },
      'at',
    ],
  ])('refuses %s with its own error, which names the property and quotes nothing', (_, session, name) => {
    const error = failureOf(session)

    expect(error).toBeInstanceOf(SessionNotSerializableError)
    expect(error).toMatchObject({ code: 'ERR_SESSION_NOT_SERIALIZABLE', status: 500 })
    if (name !== undefined) expect(error).toMatchObject({ message: expect.stringContaining(`"${name}"`) })
    expect(JSON.stringify([error, String(error), (error as Error).cause])).not.toContain('hunter2')
  })

  test('does not name a property that no developer named', () => {
    expect(failureOf({ 'token 8f3a': 1n })).toMatchObject({ message: expect.not.stringContaining('8f3a') })
  })
})
