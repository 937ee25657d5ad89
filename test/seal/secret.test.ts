import { createPublicKey, createSecretKey, generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseSecret } from '../../lib/seal/secret.ts'

const BYTES = Buffer.from(Array.from({ length: 32 }, (_, index) => index * 7))

function refusal(value: unknown): string {
  try {
    parseSecret(value, 'secrets[1]')
  } catch (error) {
    if (error instanceof TypeError) return error.message
  }
  throw new Error('It was not refused with a TypeError')
}

const TEXT = 'thirty-two bytes of text, exactly'.slice(0, 32)

describe('parseSecret', () => {
  test('takes a string, a Buffer, a Uint8Array and a secret KeyObject', () => {
    const text = 'thirty-two bytes of text, exactly'.slice(0, 32)

    expect(parseSecret(text, 'x').export()).toEqual(Buffer.from(text))
    expect(parseSecret(BYTES, 'x').export()).toEqual(BYTES)
    expect(parseSecret(new Uint8Array(BYTES), 'x').export()).toEqual(BYTES)
    expect(parseSecret(createSecretKey(BYTES), 'x').export()).toEqual(BYTES)
  })

  test('keeps a copy: a Buffer that is wiped afterwards changes nothing', () => {
    const given = Buffer.from(BYTES)
    const secret = parseSecret(given, 'x')

    given.fill(0)

    expect(secret.export()).toEqual(BYTES)
  })

  test('counts the bytes of a string, not its characters', () => {
    expect(parseSecret('åäöéèüßñåäöéèüßñ', 'x').symmetricKeySize).toBe(32)
    expect(refusal('åäöéèüßñåäöéèüß')).toMatch(/"secrets\[1\]" must be at least 32 bytes long/)
  })

  test.each([
    ['a string', 'abcdefghijklmnopqrstuvwxyz01234'],
    ['a Buffer', BYTES.subarray(0, 31)],
    ['a KeyObject', createSecretKey(BYTES.subarray(0, 31))],
    ['an empty string', ''],
  ])('refuses 31 bytes and fewer: %s', (_, value) => {
    expect(refusal(value)).toMatch(/"secrets\[1\]" must be at least 32 bytes long/)
  })

  test.each([
    ['a newline behind it', (text: string) => `${text}\n`],
    ['a carriage return behind it', (text: string) => `${text}\r\n`],
    ['a space before it', (text: string) => ` ${text}`],
    ['a byte order mark before it', (text: string) => `\u{feff}${text}`],
  ])('refuses a string with %s, and never trims it by itself', (_, pad) => {
    expect(refusal(pad(TEXT))).toMatch(/"secrets\[1\]" must be without white space around it/)
  })

  test.each([
    ['a Buffer', (bytes: Buffer) => bytes],
    ['a Uint8Array', (bytes: Buffer) => new Uint8Array(bytes)],
    ['a KeyObject', createSecretKey],
  ])('refuses %s of text with white space around it, as a file is read', (_, make) => {
    const made = (text: string) => make(Buffer.from(text))

    expect(refusal(made(`${TEXT}\n`))).toMatch(/"secrets\[1\]" must be without white space around it/)
    expect(refusal(made(`\t${TEXT}`))).toMatch(/"secrets\[1\]" must be without white space around it/)
    expect(parseSecret(made(TEXT), 'x').export()).toEqual(Buffer.from(TEXT))
  })

  test('takes bytes that are no text with what would be white space around it', () => {
    const bytes = Buffer.concat([Buffer.from('\n'), BYTES, Buffer.from([0xff, 0x20])])

    expect(parseSecret(bytes, 'x').export()).toEqual(bytes)
  })

  test.each([[undefined], ['short'], ['x'.repeat(64)], [`${'abcdefgh'.repeat(4)}\n`]])(
    'says how to make one where %j is refused',
    (value) => {
      expect(refusal(value)).toContain('openssl rand -hex 32')
    },
  )

  test('refuses fewer than 8 different bytes and takes 8', () => {
    expect(refusal('abcdefg'.repeat(10))).toMatch(/"secrets\[1\]" must be random/)
    expect(refusal(Buffer.alloc(64))).toMatch(/"secrets\[1\]" must be random/)
    expect(refusal(createSecretKey(Buffer.alloc(32, 1)))).toMatch(/"secrets\[1\]" must be random/)
    expect(parseSecret('abcdefgh'.repeat(4), 'x').symmetricKeySize).toBe(32)
  })

  const { publicKey, privateKey } = generateKeyPairSync('ed25519')

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a number', 12_345_678],
    ['an object', { length: 32 }],
    ['an array of bytes', [...BYTES]],
    ['an ArrayBuffer', new ArrayBuffer(32)],
    ['a Uint16Array', new Uint16Array(32)],
    ['a private key', privateKey],
    ['a public key', createPublicKey(publicKey.export({ format: 'pem', type: 'spki' }))],
  ])('refuses %s', (_, value) => {
    expect(refusal(value)).toMatch(/"secrets\[1\]" must be a string, Buffer, Uint8Array or secret KeyObject/)
  })

  test.each(['short!Q', 'zq'.repeat(30)])('shows nothing of a secret it refuses', (secret) => {
    expect(refusal(secret)).not.toContain(secret.slice(0, 4))
  })
})
