import { type Result, type Results, ratioOf, type Spread, samplesOf, spreadOf, storeCase } from './result.ts'

/** What the store is to reach, and whether the kept results say that it does. */
export interface Target {
  readonly what: string
  readonly limit: Limit
  readonly moonshot?: number
  /** How many digits a figure is shown with. */
  readonly digits: number
  readonly value: Spread | undefined
}

interface Limit {
  readonly is: '≥' | '≤'
  readonly than: number
}

export function isMet({ limit, value }: Target): boolean | undefined {
  if (value === undefined || Number.isNaN(value.median)) return undefined
  return limit.is === '≥' ? value.median >= limit.than : value.median <= limit.than
}

const MODES = ['signed', 'encrypted'] as const
const GUARDED = ['signed', 'encrypted', 'guarded'] as const
/** A page of a user's sessions, which are ended together. */
const PAGE = 100

export function targetsOf(results: Results): readonly Target[] {
  return [
    ...callTargets(results),
    ...requestTargets(results),
    ...serverTargets(results),
    ...growthTargets(results),
  ]
}

function callTargets({ store }: Results): Target[] {
  const limits = {
    get: { signed: [1.15, 1.4], encrypted: [0.85, 1] },
    set: { signed: [0.85, 1], encrypted: [0.6, 0.75] },
  } as const
  return (['get', 'set'] as const).flatMap((operation) =>
    MODES.map((mode): Target => {
      const what = storeCase(operation, 560, 64)
      const [than, moonshot] = limits[operation][mode]
      const value = ratio(store, { what, metric: 'cpuMicros', of: ['connect-redis', `ours ${mode}`] })
      return {
        what: `\`${operation}\` per CPU, ${mode}: connect-redis ÷ ours`,
        limit: { is: '≥', than },
        moonshot,
        digits: 2,
        value,
      }
    }),
  )
}

function requestTargets({ http, proxy }: Results): Target[] {
  const limits = {
    'read-only': { signed: [0.95, 0.85], encrypted: [1, 0.9], guarded: [1, 0.9] },
    writing: { signed: [1.05, 0.95], encrypted: [1.15, 1], guarded: [1.15, 1] },
  } as const
  const cpu = (['read-only', 'writing'] as const).flatMap((what) =>
    GUARDED.map((mode): Target => {
      const [than, moonshot] = limits[what][mode]
      const value = ratio(http, { what, metric: 'cpuMicros', of: [`ours ${mode}`, 'connect-redis'] })
      return {
        what: `Express ${what}, CPU, ${mode}: ours ÷ connect-redis`,
        limit: { is: '≤', than },
        moonshot,
        digits: 2,
        value,
      }
    }),
  )
  const at1Ms = {
    what: 'read-only, 1 client',
    metric: 'p50Ms',
    of: ['ours signed', 'connect-redis'],
  } as const
  return [
    ...cpu,
    {
      what: 'p50 of a read-only request at 1 ms: ours ÷ connect-redis',
      limit: { is: '≤', than: 0.6 },
      moonshot: 0.55,
      digits: 2,
      value: ratio(proxy, at1Ms),
    },
  ]
}

function serverTargets({ server }: Results): Target[] {
  const ours = (what: string, metric: string) => measured(server, { what, candidate: 'ours signed', metric })
  const target = (what: string, than: number, value: Spread | undefined, digits = 0): Target => ({
    what,
    limit: { is: '≤', than },
    digits,
    value,
  })
  return [
    target(
      'commands of a read-only request within the touch window',
      1,
      ours('read-only request', 'commands'),
      1,
    ),
    target('replicated bytes of the same', 0, ours('read-only request', 'replicatedBytes')),
    target('round trips of a request that changes its session', 2, ours('writing request', 'roundTrips'), 1),
    target('round trips of a login at the cap', 4, ours('login request', 'roundTrips'), 1),
    target(
      `round trips to end all of 1,000, with ${1000 / PAGE} batches`,
      4 + 1000 / PAGE,
      ours('end all of 1,000', 'roundTrips'),
    ),
    { ...target('Valkey’s time for a save, µs', 8, ours('writing request', 'scriptMicros'), 1), moonshot: 5 },
    {
      ...target('Valkey’s time for a login at the cap, µs', 30, ours('login request', 'serverMicros'), 1),
      moonshot: 20,
    },
    target(
      'Valkey’s memory of a session of nobody, 560 B: ours ÷ connect-redis',
      1,
      ratio(server, {
        what: 'memory of nobody, 560 B',
        metric: 'storedBytes',
        of: ['ours signed', 'connect-redis'],
      }),
      2,
    ),
  ]
}

/** What counts as flat: what a run differs from the next by on a machine that is busy. */
const NOISE = 1.2

function growthTargets({ growth }: Results): Target[] {
  const most = growth?.settings['sessions'] ?? Number.NaN
  const flat = (operation: string): Target => ({
    what: `\`${operation}\` with ${most.toLocaleString('en')} stored ÷ with 1,000`,
    limit: { is: '≤', than: NOISE },
    digits: 2,
    value: between(growth, [`${operation}, ${most} stored`, `${operation}, 1000 stored`], 'cpuMicros'),
  })
  return [
    flat('get'),
    flat('login at cap'),
    flat('touch that is due'),
    {
      what: `memory of \`all()\` iterated, ${most.toLocaleString('en')} ÷ ${(most / 10).toLocaleString('en')}`,
      limit: { is: '≤', than: NOISE },
      digits: 2,
      value: between(
        growth,
        [`all, iterated, ${most} stored`, `all, iterated, ${most / 10} stored`],
        'heapMB',
      ),
    },
  ]
}

interface Comparison {
  readonly what: string
  readonly metric: string
  readonly of: readonly [one: string, other: string]
}

function ratio(
  result: Result | undefined,
  { what, metric, of: [one, other] }: Comparison,
): Spread | undefined {
  const [samples, others] = [one, other].map((candidate) => samplesOf(result, { what, candidate, metric }))
  return samples?.length && others?.length ? ratioOf(samples, others) : undefined
}

function between(
  result: Result | undefined,
  [one, other]: readonly [string, string],
  metric: string,
): Spread | undefined {
  const [samples, others] = [one, other].map((what) =>
    samplesOf(result, { what, candidate: 'ours signed', metric }),
  )
  return samples?.length && others?.length ? ratioOf(samples, others) : undefined
}

function measured(result: Result | undefined, of: Parameters<typeof samplesOf>[1]): Spread | undefined {
  const samples = samplesOf(result, of)
  return samples.length > 0 ? spreadOf(samples) : undefined
}

/** The targets as lines of a terminal. */
export function targetLines(results: Results): string[] {
  return targetsOf(results).map((target) => {
    const { limit, moonshot, what } = target
    const hope = moonshot === undefined ? '' : ` (${moonshot})`
    return `${verdictOf(target).padEnd(12)} ${figureOf(target).padEnd(24)} ${limit.is} ${limit.than}${hope}  ${what}`
  })
}

export function verdictOf(target: Target): string {
  const met = isMet(target)
  return met === undefined ? 'not measured' : met ? 'met' : 'not met'
}

/** The median, and what all rounds lie between. */
export function figureOf({ value, digits }: Target): string {
  if (value === undefined || Number.isNaN(value.median)) return '–'
  const [median, least, most] = [value.median, value.least, value.most].map((figure) =>
    figure.toFixed(digits),
  )
  return least === most ? `${median}` : `${median} (${least} to ${most})`
}
