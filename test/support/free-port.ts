import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Below the range outgoing connections take their ports from (32768 on Linux, 49152 elsewhere): a client that keeps
// reconnecting to a stopped server could otherwise be given that very port and connect to itself.
const LOWEST = 15_000
const HIGHEST = 32_000
const TRIES = 100

/** A port of 127.0.0.1 that nobody listens on now. Somebody may in a moment, so whoever binds it must be ready to try again. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = randomInt(LOWEST, HIGHEST)
    if (await isFree(port)) return port
  }
  throw new Error(`No free port found on 127.0.0.1 in ${TRIES} tries`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
