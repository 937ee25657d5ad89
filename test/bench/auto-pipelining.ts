// One bounded read, as the store makes them, with iovalkey's auto-pipelining off and on, in turns on one server: a ratio.
// The store itself cannot be measured with it on: iovalkey 0.4.0 then throws, uncaught, in `call`, through which it sends.
import { Redis } from 'iovalkey'
import { startValkey } from '../support/valkey.ts'

const ROUNDS = 9
const READS = 5000
const CONCURRENCY = [1, 8, 64]
const KEY = 'a-record'

async function timeOf(client: Redis, concurrency: number): Promise<number> {
  const startMs = performance.now()
  let left = READS
  const work = async () => {
    while (left-- > 0) await client.getrangeBuffer(KEY, 0, 82_090)
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  return performance.now() - startMs
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? Number.NaN
}

const server = await startValkey()
const off = new Redis({ host: '127.0.0.1', port: server.port })
const on = new Redis({ host: '127.0.0.1', port: server.port, enableAutoPipelining: true })
await off.set(KEY, 'x'.repeat(500))

for (const concurrency of CONCURRENCY) {
  const ratios: number[] = []
  for (let round = 0; round <= ROUNDS; round += 1) {
    const ratio = (await timeOf(off, concurrency)) / (await timeOf(on, concurrency))
    // The first round warms up.
    if (round > 0) ratios.push(ratio)
  }
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)]
  console.log(
    `${concurrency} at once: ${median(ratios).toFixed(2)} × the reads a second with auto-pipelining (${low.toFixed(2)} to ${high.toFixed(2)})`,
  )
}

off.disconnect()
on.disconnect()
await server.stop()
