import { inspect } from 'node:util'
import type { Violation } from './checks/evidence.ts'
import { isExpected } from './history.ts'
import type { PlantedSecret } from './planted-secret.ts'

// Everything else on an error might be a client's: the command with its arguments, a reply, a socket.
const OWN_PROPERTIES: readonly PropertyKey[] = [
  'stack',
  'message',
  'name',
  'code',
  'status',
  'statusCode',
  'expose',
  'headers',
  'reason',
  'failure',
  'ending',
  'bytes',
  'maxBytes',
  'maxSessionsPerUser',
]

/** Looks at every error a store failed with: is it one that it may fail with, and does it keep its secrets? */
export class FailureWatch {
  readonly violations: Violation[] = []
  readonly counts = new Map<string, number>()
  readonly #planted: PlantedSecret

  constructor(planted: PlantedSecret) {
    this.#planted = planted
  }

  note(error: unknown): void {
    const name = error instanceof Error ? `${error.name}${reasonOf(error)}` : typeof error
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
    if (!isExpected(error))
      this.#violates('foreign error', error instanceof Error ? `${error.name}: ${error.message}` : name)
    const foreign = Reflect.ownKeys(Object(error)).filter((key) => !OWN_PROPERTIES.includes(key))
    if (foreign.length > 0) this.#violates('secret leaked', `${name} has ${foreign.map(String).join(', ')}`)
    if (this.#planted.isIn(inspect(error, { showHidden: true, depth: 8 })))
      this.#violates('secret leaked', `in ${name}`)
  }

  #violates(check: Violation['check'], detail: string): void {
    if (this.violations.length < 20) this.violations.push({ check, detail })
  }
}

function reasonOf(error: Error): string {
  const reason: unknown = Reflect.get(error, 'reason')
  return reason === undefined ? '' : ` (${String(reason)})`
}
