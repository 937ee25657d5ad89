import { describe, expect, test } from 'vitest'
import { findingsOf, parseServerFacts } from '../../../lib/backend/valkey/checks/server-inspection.ts'

const sound = {
  valkey_version: '8.0.1',
  redis_version: '7.2.4',
  role: 'master',
  used_memory: '1000',
  maxmemory: '10000',
  maxmemory_policy: 'noeviction',
  aof_enabled: '1',
}

// Written out, as there is no old server to start: the fields are those of every server's INFO.
function codesOf(changes: Readonly<Record<string, string | undefined>>): readonly string[] {
  const fields = Object.entries({ ...sound, ...changes }).filter(([, value]) => value !== undefined)
  const facts = parseServerFacts(
    `# Server\r\n${fields.map(([name, value]) => `${name}:${value}`).join('\r\n')}\r\n`,
  )
  if (facts === undefined) throw new Error('It was not understood')
  return findingsOf(facts).map(({ code, severity }) => `${severity} ${code}`)
}

const redis = { valkey_version: undefined }

describe('what a server says of itself', () => {
  test('is fine when nothing is wrong', () => {
    expect(codesOf({})).toEqual([])
  })

  test.each([
    ['7.2.0', {}],
    ['8.1.4', {}],
    ['9.0.0', {}],
    ['10.0.0', {}],
  ])('Valkey %s is recent enough', (valkey_version) => {
    expect(codesOf({ valkey_version })).toEqual([])
  })

  test.each(['7.0.0', '7.2.4', '8.2.1'])('Redis %s is recent enough', (redis_version) => {
    expect(codesOf({ ...redis, redis_version })).toEqual([])
  })

  test.each(['6.2.14', '2.8.0'])('Redis %s is too old', (redis_version) => {
    expect(codesOf({ ...redis, redis_version })).toEqual(['error server-too-old'])
  })

  test('each thing that is wrong has its code, and several show together', () => {
    expect(codesOf({ role: 'slave' })).toEqual(['error replica'])
    expect(codesOf({ maxmemory: '0' })).toEqual(['warning memory-unlimited'])
    expect(codesOf({ used_memory: '8001' })).toEqual(['warning memory-low'])
    expect(codesOf({ used_memory: '8000' })).toEqual([])
    expect(codesOf({ aof_enabled: '0' })).toEqual(['warning append-only-off'])
    expect(codesOf({ role: 'slave', maxmemory_policy: 'allkeys-lru', maxmemory: '0' })).toEqual([
      'error replica',
      'error eviction-policy',
      'warning memory-unlimited',
    ])
  })

  test('that is not an INFO reply is not understood', () => {
    expect(parseServerFacts('')).toBeUndefined()
    expect(parseServerFacts('undefined')).toBeUndefined()
    expect(parseServerFacts('HTTP/1.1 400 Bad Request\r\nServer: valkey_version\r\n')).toBeUndefined()
  })
})
