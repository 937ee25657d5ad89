import { setTimeout as delay } from 'node:timers/promises'

export interface UntilOptions {
  /** How long the condition may take to hold, in ms. @defaultValue 30_000 */
  readonly withinMs?: number
  /** How often to look, in ms. @defaultValue 10 */
  readonly everyMs?: number
  /** What is awaited, for the error message. */
  readonly what?: string
}

type Truthy<T> = Exclude<T, false | undefined | null | 0 | ''>

/**
 * Looks until the condition gives something truthy, and resolves to that. Rejects when the deadline has passed, or at
 * once when the condition throws.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions = {},
): Promise<Truthy<T>> {
  const { withinMs = 30_000, everyMs = 10, what = String(condition) } = options
  const deadline = performance.now() + withinMs
  for (;;) {
    const found = await condition()
    if (found) return found as Truthy<T>
    if (performance.now() >= deadline) throw new Error(`Not so within ${withinMs} ms: ${what}`)
    await delay(everyMs)
  }
}
