import type { SessionData } from 'express-session'
import { describe, expect, test } from 'vitest'
import { jsonSerializer } from '../../lib/session/codec.ts'
import { resolveOptions, STORE_OPTIONS } from '../../lib/store/options.ts'

const session = (content: object) => content as SessionData

describe('resolveOptions', () => {
  test('has defaults for everything', () => {
    const { clock, userId: _, ...resolved } = resolveOptions({})

    expect(resolved).toMatchObject({
      encrypt: false,
      prefix: 'sess',
      ttl: 86_400,
      absoluteTtl: undefined,
      absoluteTtlSurvivesRegenerate: false,
      touchAfter: undefined,
      maxBytes: 65_536,
      serializer: jsonSerializer,
      concurrency: 'merge',
      onInvalid: 'discard',
      onUnknownKey: 'discard',
      endedTtlMs: 86_400_000,
    })
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1000)
  })

  test('takes undefined for left out', () => {
    const undefineds = Object.fromEntries(Object.keys(STORE_OPTIONS).map((name) => [name, undefined]))

    const { clock: _c, userId: _u, ...left } = resolveOptions(undefineds)
    const { clock: _d, userId: _v, ...given } = resolveOptions({})

    expect(left).toEqual(given)
  })

  test('keeps what is given', () => {
    const options = {
      encrypt: true,
      prefix: 'app:v2_x-y',
      ttl: () => 5,
      absoluteTtl: 100,
      absoluteTtlSurvivesRegenerate: true,
      touchAfter: 0,
      maxBytes: 256,
      serializer: { stringify: () => '', parse: () => ({}) },
      userId: () => 'u',
      concurrency: 'reject',
      onInvalid: 'error',
      onUnknownKey: 'error',
    } as const
    const given = { ...options, endedTtl: 7, clock: { now: () => 5 } }

    expect(resolveOptions(given)).toMatchObject({ ...options, endedTtlMs: 7000 })
    expect(resolveOptions(given).clock.now()).toBe(5)
  })

  test.each([Number.NaN, -1, Number.POSITIVE_INFINITY, '5', new Date(), 5n, undefined])(
    'refuses the time when a clock gives %s',
    (time) => {
      const { clock } = resolveOptions({ clock: { now: () => time as number } })

      expect(() => clock.now()).toThrow('Option "clock.now" must be a number from 0 to')
    },
  )

  test.each([
    ['userId', { userId: 'alice' }, 'alice'],
    ['userId 0', { userId: 0, passport: { user: 'bob' } }, 0],
    ['what passport keeps', { passport: { user: 7 } }, 7],
    ['nobody without either', {}, undefined],
    ['nobody when passport is null', { passport: null }, undefined],
    ['what passport keeps, an object too', { passport: { user: { id: 1 } } }, { id: 1 }],
  ])('finds the user of a session by default as %s', (_, content, expected) => {
    expect(resolveOptions({}).userId(session(content) as never)).toEqual(expected)
  })
})
