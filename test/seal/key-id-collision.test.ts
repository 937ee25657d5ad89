import { randomBytes } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { Keyring } from '../../lib/seal/keyring.ts'

// A fake: nobody can find two secrets with one 64-bit id of HKDF in the time of a test.
vi.mock('node:crypto', async (load) => ({
  ...(await load<typeof import('node:crypto')>()),
  hkdfSync: () => Buffer.alloc(8, 0x11),
}))

describe('two different secrets with one key id', () => {
  test('are refused, for a key id must select exactly one key', () => {
    const secrets = [randomBytes(32), randomBytes(32)]

    expect(() => new Keyring(secrets)).toThrow(/^Option "secrets\[1\]" must be different .* key id/)
  })
})
