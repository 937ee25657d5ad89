import { createSecretKey } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { Context } from '../../lib/seal/context.ts'
import { Keyring } from '../../lib/seal/keyring.ts'
import { Sealer } from '../../lib/seal/sealer.ts'
import { SealingKey } from '../../lib/seal/sealing-key.ts'

const CONTEXT: Context = { purpose: 'record', prefix: 'sess', name: 'n' }

describe('what holds secrets', () => {
  const secret = 'a secret that must never be printed anywhere'
  const secretBytes = Buffer.from(secret)
  const key = new SealingKey(createSecretKey(secretBytes))
  const macKey = key.derive('record', 'signed', 'mac').export()
  const holders = [
    ['a Sealer of a list', new Sealer({ secrets: [secret], encrypt: true })],
    ['a Sealer of a function', new Sealer({ secrets: () => [secret], encrypt: true })],
    ['a Keyring', new Keyring([secretBytes])],
    ['a SealingKey', key],
  ] as const

  /** All the ways in which bytes are commonly printed. */
  function spellings(bytes: Buffer): string[] {
    const spaced = bytes.toString('hex').replace(/../g, '$& ').trim().slice(0, 47)
    const listed = [...bytes.subarray(0, 8)].join(',')
    return [
      bytes.toString('latin1'),
      bytes.toString('hex'),
      bytes.toString('base64').slice(0, 40),
      spaced,
      listed,
    ]
  }

  test.each(holders)('%s prints as redacted', async (_, holder) => {
    if (holder instanceof Sealer) await holder.seal(Buffer.from('text'), CONTEXT)

    expect(inspect(holder)).toMatch(/^\w+ \[redacted\]$/)
    expect(JSON.stringify({ holder })).toBe('{"holder":"[redacted]"}')
  })

  test.each(holders)('%s shows no secret and no key however it is printed', async (_, holder) => {
    if (holder instanceof Sealer) await holder.seal(Buffer.from('text'), CONTEXT)
    const deep = {
      showHidden: true,
      depth: Number.POSITIVE_INFINITY,
      getters: true,
      maxArrayLength: null,
      maxStringLength: null,
    }
    const printed = [
      inspect(holder, deep),
      inspect(holder, { ...deep, customInspect: false }),
      JSON.stringify(holder),
      String(holder),
      JSON.stringify(Object.getOwnPropertyDescriptors(holder)),
    ].join('\n')

    const shown = [...spellings(secretBytes), ...spellings(macKey)].filter((spelling) =>
      printed.includes(spelling),
    )

    expect(shown).toEqual([])
  })
})
