import { describe, expect, test } from 'vitest'
import { type Binding, sealBlob } from '../../lib/seal/blob.ts'
import { encodeContext } from '../../lib/seal/context.ts'
import type { Mode } from '../../lib/seal/envelope.ts'
import { Keyring } from '../../lib/seal/keyring.ts'
import { Sealer } from '../../lib/seal/sealer.ts'
import { type EnvelopeVectors, envelopeVectors, type GoodBlob, hex, vectorSecret } from './vectors.ts'

const MODES: readonly Mode[] = ['signed', 'encrypted']
const FILES: Readonly<Record<Mode, EnvelopeVectors>> = {
  signed: envelopeVectors('signed'),
  encrypted: envelopeVectors('encrypted'),
}
const GOOD = MODES.flatMap((mode) => FILES[mode].good.map((vector) => ({ mode, vector, name: vector.name })))
const BAD = MODES.flatMap((mode) => FILES[mode].bad.map((vector) => ({ mode, vector, name: vector.name })))

function createSealer(mode: Mode): Sealer {
  return new Sealer({ secrets: FILES[mode].secrets.map(vectorSecret), encrypt: mode === 'encrypted' })
}

async function bindingOf(mode: Mode, vector: GoodBlob): Promise<Binding> {
  const secrets = FILES[mode].secrets.map(vectorSecret)
  const { first } = await new Keyring([
    ...secrets.slice(vector.secret),
    ...secrets.slice(0, vector.secret),
  ]).load()
  return { key: first, context: vector.context }
}

describe('the vectors of the envelope', () => {
  test('are as many as the specification says', () => {
    expect(FILES.signed.good).toHaveLength(6)
    expect(FILES.signed.bad).toHaveLength(65)
    expect(FILES.encrypted.good).toHaveLength(6)
    expect(FILES.encrypted.bad).toHaveLength(88)
  })

  test.each(GOOD)('derive key id, keys and context: $mode, $name', async ({ mode, vector }) => {
    const { key, context } = await bindingOf(mode, vector)

    expect(key.id.toString('hex')).toBe(vector.keyId)
    expect(key.derive(context.purpose, mode, 'mac').export().toString('hex')).toBe(vector.macKey)
    expect(encodeContext(context).toString('hex')).toBe(vector.encodedContext)
    expect(vector.encKey ?? 'none').toBe(
      mode === 'encrypted' ? key.derive(context.purpose, mode, 'enc').export().toString('hex') : 'none',
    )
  })

  test.each(GOOD)('seal to the byte: $mode, $name', async ({ mode, vector }) => {
    const blob = sealBlob(hex(vector.plaintext), mode, await bindingOf(mode, vector), () =>
      hex(vector.nonce ?? ''),
    )

    expect(blob.toString('hex')).toBe(vector.blob)
  })

  test.each(GOOD)('open: $mode, $name', async ({ mode, vector }) => {
    const opened = await createSealer(mode).open(hex(vector.blob), vector.context)

    expect(opened).toEqual({ state: 'open', plaintext: hex(vector.plaintext), current: vector.current })
  })

  test.each(BAD)('are refused: $mode, $name', async ({ mode, vector }) => {
    const opened = await createSealer(mode).open(hex(vector.blob), vector.context ?? FILES[mode].context)

    expect(opened).toEqual({ state: vector.state })
  })

  test.each(MODES)(
    'open with the retired secret what names it, so that only its absence refuses it: %s',
    async (mode) => {
      const retired = FILES[mode].bad.find(({ name }) => name.includes('retired secret'))
      const sealer = new Sealer({
        secrets: [vectorSecret(FILES[mode].retiredSecret)],
        encrypt: mode === 'encrypted',
      })

      expect((await sealer.open(hex(retired?.blob ?? ''), FILES[mode].context)).state).toBe('open')
    },
  )
})
