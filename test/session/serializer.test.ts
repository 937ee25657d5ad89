import { describe, expect, test } from 'vitest'
import { SessionNotSerializableError } from '../../lib/errors.ts'
import { jsonSerializer } from '../../lib/session/codec.ts'
import { MAX_DEPTH, sanitize } from '../../lib/session/sanitize.ts'

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
