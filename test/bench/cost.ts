import type { Done } from './candidates.ts'
import { quantile } from './result.ts'

export type Work = (index: number, done: Done) => unknown

/** What a call costs: CPU of this process, all its threads together, and time. */
export interface Cost {
  readonly [metric: string]: number
  readonly cpuMicros: number
  readonly perSecond: number
  readonly p50Micros: number
  readonly p99Micros: number
}

/** Keeps `inFlight` calls going until all are done. */
export function costOf(
  work: Work,
  { inFlight, calls }: { readonly inFlight: number; readonly calls: number },
): Promise<Cost> {
  const tookMs = new Float64Array(calls)
  return new Promise((resolve, reject) => {
    const startMs = performance.now()
    const cpu = process.cpuUsage()
    let started = 0
    let ended = 0
    // Not an arrow function in a constant: tsx would name each one anew, which costs more than the call of it.
    function start(): void {
      const index = started
      started += 1
      const beganMs = performance.now()
      work(index, (error) => {
        if (error) return reject(error)
        tookMs[index] = performance.now() - beganMs
        ended += 1
        if (started < calls) start()
        else if (ended === calls) end()
      })
    }
    function end(): void {
      const { user, system } = process.cpuUsage(cpu)
      const totalMs = performance.now() - startMs
      resolve({
        cpuMicros: (user + system) / calls,
        perSecond: (1000 * calls) / totalMs,
        p50Micros: 1000 * quantile([...tookMs], 0.5),
        p99Micros: 1000 * quantile([...tookMs], 0.99),
      })
    }
    for (let index = 0; index < Math.min(inFlight, calls); index += 1) start()
  })
}

export function called(call: (done: Done) => unknown): Promise<void> {
  return new Promise((resolve, reject) => call((error) => (error ? reject(error) : resolve())))
}

/** Does unmeasured work, 64 at once. */
export async function inBatches(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  for (let first = 0; first < count; first += 64) {
    await Promise.all(Array.from({ length: Math.min(64, count - first) }, (_, at) => work(first + at)))
  }
}
