import { setTimeout as delay } from 'node:timers/promises'
import type { Outcome } from './history.ts'

const MAX_TRIES = 10

/** Makes a call until it is acknowledged: a busy machine makes a reply late now and then, when nothing else is wrong. */
export async function untilAcknowledged<Value>(call: () => Promise<Outcome<Value>>): Promise<Value> {
  for (let tries = 1; ; tries += 1) {
    const outcome = await call()
    if (outcome.call.verdict === 'acked') return outcome.value as Value
    if (tries === MAX_TRIES) {
      throw new Error(`Nothing is wrong any more, but a ${outcome.call.kind} failed: ${outcome.call.failure}`)
    }
    await delay(tries * 100)
  }
}
