import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { decodeEnvelope, HEADER_BYTES, type Mode } from '../../lib/seal/envelope.ts'
import { envelopeVectors, hex } from './vectors.ts'

const DOCUMENT = readFileSync(new URL('../../docs/FORMAT.md', import.meta.url), 'utf8')

/** The values printed under "Test vectors", in order; a value may be broken into lines. */
function printedValues(): Array<{ label: string; value: string }> {
  const section = DOCUMENT.slice(DOCUMENT.indexOf('## Test vectors'))
  const rows = section.matchAll(/^ {4}([a-zA-Z ]+): +(\S+(?:\n {19}\S+)*)$/gm)
  return Array.from(rows, ([, label = '', value = '']) => ({ label, value: value.replace(/\s+/g, '') }))
}

function expectedValues(): Array<{ label: string; value: string }> {
  return [...common(), ...parts('signed'), ...parts('encrypted')]
}

function common() {
  const { secrets, good } = envelopeVectors('signed')
  const [vector] = good
  const [secret] = secrets
  if (vector === undefined || secret === undefined || !('hex' in secret))
    throw new Error('The vectors are not as printed')
  return [
    { label: 'secret', value: secret.hex },
    { label: 'key id', value: vector.keyId },
    { label: 'purpose', value: JSON.stringify(vector.context.purpose) },
    { label: 'prefix', value: JSON.stringify(vector.context.prefix) },
    { label: 'name', value: JSON.stringify(vector.context.name) },
    { label: 'context', value: vector.encodedContext },
    { label: 'plaintext', value: `"${hex(vector.plaintext)}"` },
  ]
}

function parts(mode: Mode) {
  const [vector] = envelopeVectors(mode).good
  const envelope = decodeEnvelope(hex(vector?.blob ?? ''))
  if (vector === undefined || envelope === undefined) throw new Error('There is no vector')
  const { covered, payload, mac } = envelope
  const keys = [
    { label: 'enc key', value: vector.encKey ?? '' },
    { label: 'MAC key', value: vector.macKey },
    { label: 'nonce', value: vector.nonce ?? '' },
    { label: 'header', value: covered.toString('hex', 0, HEADER_BYTES) },
  ]
  const contents =
    mode === 'signed'
      ? [{ label: 'payload', value: payload.toString('hex') }]
      : [
          { label: 'ciphertext', value: payload.toString('hex', 24, payload.length - 16) },
          { label: 'tag', value: payload.toString('hex', payload.length - 16) },
        ]
  const ends = [
    { label: 'MAC', value: mac.toString('hex') },
    { label: 'blob', value: vector.blob },
  ]
  return [...keys, ...contents, ...ends].filter(({ value }) => value !== '')
}

describe('docs/FORMAT.md', () => {
  test('prints the first vector of each file, whole and in parts', () => {
    expect(printedValues()).toEqual(expectedValues())
  })

  test('counts the vectors as they are', () => {
    expect(DOCUMENT).toContain(`${envelopeVectors('signed').bad.length} for signed`)
    expect(DOCUMENT).toContain(`${envelopeVectors('encrypted').bad.length} for encrypted`)
    expect(envelopeVectors('signed').good).toHaveLength(6)
    expect(envelopeVectors('encrypted').good).toHaveLength(6)
  })
})
