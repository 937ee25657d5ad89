import type { Backend } from '../../lib/backend/backend.ts'
import { OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { wrapRegistry } from './wrap-registry.ts'

const RECORD_VERBS = ['get', 'put', 'touch', 'end'] as const
const REGISTRY_VERBS = ['enroll', 'extend', 'standing', 'withdraw', 'roster', 'raise'] as const

export type Verb = (typeof RECORD_VERBS)[number] | (typeof REGISTRY_VERBS)[number]

/**
 * - `is refused`: the first call of the verb is not applied.
 * - `loses its reply`: it is applied, and nobody hears of it.
 * - `is never reached`: neither it nor anything after it is applied, as when the process dies.
 */
export type Fault = 'is refused' | 'loses its reply' | 'is never reached'

export const FAULTS: readonly Fault[] = ['is refused', 'loses its reply', 'is never reached']

// A fake: a real server cannot be made to fail just one verb of a call.
export function failingBackend(backend: Backend, { verb, fault }: { verb: Verb; fault: Fault }): Backend {
  let isOver = false
  let isDead = false
  const run = async (name: string, call: () => Promise<unknown>): Promise<unknown> => {
    if (isDead) throw new StoreUnavailableError('connection')
    if (isOver || name !== verb) return call()
    isOver = true
    isDead = fault === 'is never reached'
    if (fault !== 'loses its reply') throw new StoreUnavailableError('connection')
    await call()
    throw new OutcomeUnknownError('connection')
  }
  return eachVerb(backend, run)
}

/** A backend all of whose verbs go through a function. */
export function eachVerb(
  backend: Backend,
  run: (name: Verb, call: () => Promise<unknown>) => Promise<unknown>,
): Backend {
  const through = (target: object, names: readonly Verb[]): object => {
    const verbs = target as Readonly<Record<string, (...args: readonly unknown[]) => Promise<unknown>>>
    const entry = (name: Verb) => [
      name,
      (...args: readonly unknown[]) => run(name, async () => verbs[name]?.(...args)),
    ]
    return Object.fromEntries(names.map(entry)) as object
  }
  return wrapRegistry(
    wrapBackend(backend, through(backend, RECORD_VERBS)),
    through(backend.registry, REGISTRY_VERBS),
  )
}
