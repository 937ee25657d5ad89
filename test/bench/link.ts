import { Redis } from 'iovalkey'
import type { Place } from './candidates.ts'
import type { LinkTask } from './delay-proxy.ts'
import { quantile } from './result.ts'
import { Subject } from './subject.ts'

/** A way to a server that is longer than the loopback, or that is watched. */
export interface Link {
  readonly place: Place
  /** How often a client has sent something since it had its last reply: round trips, where one request is made at a time. */
  readonly turns: () => Promise<number>
  /** What a PING takes, in ms. */
  readonly roundTripMs: () => Promise<number>
  readonly stop: () => Promise<void>
}

/** Puts a proxy before a server that holds each reply for `delayMs`. */
export async function startLink(server: Place, delayMs: number): Promise<Link> {
  const proxy = await Subject.start<LinkTask, number>('delay-proxy.ts', { port: server.port, delayMs })
  const place = { host: server.host, port: await proxy.ask('port') }
  return {
    place,
    turns: () => proxy.ask('turns'),
    roundTripMs: () => roundTripOf(place),
    stop: () => proxy.stop(),
  }
}

async function roundTripOf(place: Place): Promise<number> {
  const client = new Redis({ host: place.host, port: place.port })
  const tookMs: number[] = []
  for (let ping = 0; ping < 200; ping += 1) {
    const startMs = performance.now()
    await client.ping()
    tookMs.push(performance.now() - startMs)
  }
  client.disconnect()
  return quantile(tookMs, 0.5)
}
