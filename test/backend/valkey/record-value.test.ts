import { describe, expect, it, vi } from 'vitest'
import { MAX_ENDING_BYTES } from '../../../lib/backend/backend.ts'
import {
  decodeRecordValue,
  decodeTombstoneValue,
  HEADER_BYTES,
  LAST_TOMBSTONE_BYTE,
  NO_OWNER,
  readRecord,
} from '../../../lib/backend/valkey/record-value.ts'
import { newBlob, newOwner } from '../contract/subject.ts'
import { FakeClient, runnerOn } from './fake-client.ts'

const blob = newBlob(40)

function value(header: Partial<Record<'format' | 'expires' | 'ends' | 'owner', string>> = {}): Buffer {
  const { format = '1', expires = '1700000000000', ends = '0000000000000', owner = NO_OWNER } = header
  return Buffer.concat([Buffer.from(format + expires + ends + owner, 'latin1'), blob])
}

describe('decodeRecordValue', () => {
  it('reads expiry and blob, with and without an owner', () => {
    expect(decodeRecordValue(value(), 40)).toEqual({ blob, expiresAtMs: 1_700_000_000_000 })
    expect(decodeRecordValue(value({ owner: newOwner() }), 40)).toEqual({
      blob,
      expiresAtMs: 1_700_000_000_000,
    })
  })

  it('takes an empty value, which is what GETRANGE gives for no key, as nothing', () => {
    expect(decodeRecordValue(Buffer.alloc(0), 40)).toBeUndefined()
  })

  it.each([
    ['another format', value({ format: '2' })],
    ['a short expiry', value({ expires: '170000000000' })],
    ['a long expiry', value({ expires: '17000000000000' })],
    ['an expiry with a sign', value({ expires: '+170000000000' })],
    ['an expiry in other digits', value({ expires: '170000000000\xb2' })],
    ['a hard end that is no number', value({ ends: '00000000000x0' })],
    ['an owner of other characters', value({ owner: '='.repeat(43) })],
    ['an owner half absent', value({ owner: `${'.'.repeat(42)}a` })],
    ['plain JSON', Buffer.from(JSON.stringify({ user: 'admin', padding: 'x'.repeat(100) }))],
  ])('calls %s unreadable', (_, wrong) => {
    expect(decodeRecordValue(wrong, 1000)).toBe('unreadable')
  })

  it('calls every truncation that cuts header or etag unreadable', () => {
    for (let length = 1; length < HEADER_BYTES + 16; length += 1) {
      expect(decodeRecordValue(value().subarray(0, length), 40)).toBe('unreadable')
    }
  })

  it('asks for one byte more than a record may have, and calls it unreadable when it comes', async () => {
    const client = new FakeClient(() => Buffer.concat([value(), Buffer.alloc(1)]))
    const asked = vi.spyOn(client, 'callBuffer')

    expect(await readRecord(runnerOn(client), 'key', 40)).toBe('unreadable')
    expect(asked).toHaveBeenCalledWith('getrange', 'key', 0, HEADER_BYTES + 40)
  })
})

describe('decodeTombstoneValue', () => {
  const stone = (owner: string, kept: Buffer) => Buffer.concat([Buffer.from(`1${owner}`), kept])

  it('reads what is kept, with and without an owner, and of a mere fence', () => {
    expect(decodeTombstoneValue(stone(newOwner(), blob))).toEqual(blob)
    expect(decodeTombstoneValue(stone(NO_OWNER, blob))).toEqual(blob)
    expect(decodeTombstoneValue(stone(NO_OWNER, Buffer.alloc(0)))).toEqual(Buffer.alloc(0))
  })

  it('takes an empty value, which is what GETRANGE gives for no key, as nothing', () => {
    expect(decodeTombstoneValue(Buffer.alloc(0))).toBeUndefined()
  })

  it.each([
    ['another format', Buffer.from(`2${NO_OWNER}`)],
    ['an owner of other characters', stone('='.repeat(43), blob)],
    ['an owner half absent', stone(`${'.'.repeat(42)}a`, blob)],
    ['a header cut short', Buffer.from(`1${'.'.repeat(42)}`)],
  ])('calls %s unreadable', (_, wrong) => {
    expect(decodeTombstoneValue(wrong)).toBe('unreadable')
  })

  it('asks for one byte more than a tombstone may have, and calls it unreadable when it comes', () => {
    const largest = stone(NO_OWNER, Buffer.alloc(MAX_ENDING_BYTES))

    expect(LAST_TOMBSTONE_BYTE).toBe(largest.length)
    expect(decodeTombstoneValue(largest)).toHaveLength(MAX_ENDING_BYTES)
    expect(decodeTombstoneValue(Buffer.concat([largest, Buffer.alloc(1)]))).toBe('unreadable')
  })
})
