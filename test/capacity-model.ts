/** What was measured of one operation: CPU time of the Node process and of the server, in µs. */
export interface Cost {
  readonly processMicros: number
  readonly serverMicros: number
}

export const OPERATIONS = ['read', 'change', 'sign-in', 'sign-out'] as const

export interface Measured {
  readonly costs: Readonly<Record<(typeof OPERATIONS)[number], Cost>>
  /** Bytes of Valkey's memory for a user's only session, and for what is kept of it once it has ended. */
  readonly liveBytes: number
  readonly endedBytes: number
}

/** What is assumed of the users and the machines. */
export const ASSUMED = {
  /** Of each session, in a day. */
  requestsPerDay: 100,
  changingShare: 0.1,
  signInsPerDay: 0.5,
  /** The busiest second has so many times the average. */
  peak: 3,
  /** Of one primary, with what `maxmemory` leaves free. */
  shardBytes: 12e9,
  /** How much of its core a primary, or a process, may use. */
  busyShare: 0.5,
} as const

const DAY_S = 86_400

/** What so many sessions need. */
export function planOf(sessions: number, { costs, liveBytes, endedBytes }: Measured) {
  const { requestsPerDay, changingShare, signInsPerDay, peak, shardBytes, busyShare } = ASSUMED
  const requests = (sessions * requestsPerDay * peak) / DAY_S
  const signIns = (sessions * signInsPerDay * peak) / DAY_S
  const micros = (of: keyof Cost) =>
    requests * (1 - changingShare) * costs.read[of] +
    requests * changingShare * costs.change[of] +
    signIns * (costs['sign-in'][of] + costs['sign-out'][of])
  const bytes = sessions * (liveBytes + signInsPerDay * endedBytes)
  const forMemory = Math.ceil(bytes / shardBytes)
  const forTime = Math.ceil(micros('serverMicros') / (busyShare * 1e6))
  const processes = Math.ceil(micros('processMicros') / (busyShare * 1e6))
  return {
    requests,
    signIns,
    bytes,
    forMemory,
    forTime,
    primaries: Math.max(forMemory, forTime),
    processes,
    notices: signIns * processes,
  }
}

/** The two tables of docs/ops/capacity.md. */
export function renderTables(measured: Measured): string {
  const plans = [1e5, 1e7, 1e9].map((sessions) => planOf(sessions, measured))
  const row = (name: string, cell: (plan: ReturnType<typeof planOf>) => string) =>
    `| ${name} | ${plans.map(cell).join(' | ')} |`
  return [
    '| operation | µs of a process | µs of a server |',
    '|---|---|---|',
    ...OPERATIONS.map(
      (name) => `| ${name} | ${measured.costs[name].processMicros} | ${measured.costs[name].serverMicros} |`,
    ),
    '',
    `A session takes ${measured.liveBytes} bytes while it lives and ${measured.endedBytes} once it has ended.`,
    '',
    '| sessions | 10⁵ | 10⁷ | 10⁹ |',
    '|---|---|---|---|',
    row('requests a second', ({ requests }) => short(requests)),
    row('sign-ins a second, and as many endings', ({ signIns }) => short(signIns)),
    row('memory', ({ bytes }) => `${short(bytes / 1e9)} GB`),
    row('primaries for the memory', ({ forMemory }) => short(forMemory)),
    row('primaries for the time', ({ forTime }) => short(forTime)),
    row('primaries', ({ primaries }) => short(primaries)),
    row("processes, for the store's part alone", ({ processes }) => short(processes)),
    row('notices a second, if each process watches', ({ notices }) => short(notices)),
  ].join('\n')
}

/** The figures in a page that has the tables. */
export function measuredIn(page: string): Measured {
  const figures = (name: string): Cost => {
    const [, processMicros, serverMicros] =
      new RegExp(`^\\| ${name} \\| ([\\d.]+) \\| ([\\d.]+) \\|$`, 'm').exec(page) ?? []
    return { processMicros: Number(processMicros), serverMicros: Number(serverMicros) }
  }
  const [, live, ended] = /takes (\d+) bytes while it lives and (\d+) once/.exec(page) ?? []
  return {
    costs: {
      read: figures('read'),
      change: figures('change'),
      'sign-in': figures('sign-in'),
      'sign-out': figures('sign-out'),
    },
    liveBytes: Number(live),
    endedBytes: Number(ended),
  }
}

function short(value: number): string {
  if (value < 10) return String(Number(value.toPrecision(2)))
  return Number(value.toPrecision(3)).toLocaleString('en-US')
}
