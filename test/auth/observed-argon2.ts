import { createRequire } from 'node:module'
import type * as Argon2 from '@node-rs/argon2'
import { vi } from 'vitest'

/** The module that lib/ has loaded: one object, as Node keeps it. */
const argon2 = createRequire(import.meta.url)('@node-rs/argon2') as typeof Argon2

/** What was hashed while a test observed it. */
export interface Observed {
  verified: string[]
  hashed: number
  running: number
  mostRunning: number
}

/** Counts hashes, which run as they would without. */
export function observeArgon2(): Observed {
  const observed: Observed = { verified: [], hashed: 0, running: 0, mostRunning: 0 }
  const { verify, hash } = argon2
  const counted = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    observed.running += 1
    observed.mostRunning = Math.max(observed.mostRunning, observed.running)
    try {
      return await work()
    } finally {
      observed.running -= 1
    }
  }
  vi.spyOn(argon2, 'verify').mockImplementation((stored, password) => {
    observed.verified.push(String(stored))
    return counted(() => verify(stored, password))
  })
  vi.spyOn(argon2, 'hash').mockImplementation((password, options) => {
    observed.hashed += 1
    return counted(() => hash(password, options))
  })
  return observed
}
