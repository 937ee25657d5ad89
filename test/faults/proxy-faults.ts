import type { Fault, FaultProxy } from '../support/fault-proxy.ts'
import type { Random } from '../support/random.ts'
import type { FaultKind } from './fault-kind.ts'

const PASS: Fault = { kind: 'pass' }
const MOST_DELAY_MS = 120
// A reply with a record is some hundred bytes long: most cuts are in the middle of one.
const MOST_CUT_BYTES = 700

type Shape = Omit<FaultKind, 'begin'> & { readonly fault: (random: Random) => Fault }

const SHAPES: readonly Shape[] = [
  { name: 'delay request', lastsMs: [50, 300], weight: 2, fault: (random) => delayed('request', random) },
  { name: 'delay reply', lastsMs: [50, 300], weight: 2, fault: (random) => delayed('reply', random) },
  { name: 'blackhole', lastsMs: [50, 400], weight: 2, fault: () => ({ kind: 'blackhole' }) },
  {
    name: 'drop reply',
    lastsMs: [20, 120],
    weight: 4,
    fault: (random) => ({ kind: 'drop-reply', times: random.between(1, 4) }),
  },
  { name: 'reset', lastsMs: [10, 100], weight: 2, fault: () => ({ kind: 'reset' }) },
  { name: 'refuse', lastsMs: [20, 200], weight: 2, fault: () => ({ kind: 'refuse' }) },
  { name: 'accept then close', lastsMs: [20, 200], weight: 2, fault: () => ({ kind: 'accept-then-close' }) },
  { name: 'one byte at a time', lastsMs: [20, 80], weight: 1, fault: () => ({ kind: 'split' }) },
  {
    name: 'cut inside a reply',
    lastsMs: [20, 100],
    weight: 3,
    fault: (random) => ({ kind: 'cut', bytes: random.between(1, MOST_CUT_BYTES) }),
  },
  { name: 'stall', lastsMs: [50, 300], weight: 2, fault: () => ({ kind: 'pause' }) },
]

/** What a network does to one client's connections. */
export function proxyFaults(proxy: FaultProxy): readonly FaultKind[] {
  return SHAPES.map(({ fault, ...shape }) => ({
    ...shape,
    begin: async (random) => {
      await proxy.set(fault(random))
      return () => proxy.set(PASS)
    },
  }))
}

function delayed(direction: 'request' | 'reply', random: Random): Fault {
  return { kind: 'delay', direction, ms: random.between(5, MOST_DELAY_MS) }
}
