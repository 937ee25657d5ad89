export interface ProgressTerms {
  /** What is counted, in the plural. */
  readonly noun: string
  /** About how many there are; `undefined` if nobody knows. */
  readonly total: number | undefined
}

const REDRAW_MS = 100
const LINE_MS = 2000
const BAR_CELLS = 24

/** Shows how far a long command is: a bar on a terminal, a line every two seconds elsewhere. */
export class Progress {
  readonly #stream: NodeJS.WriteStream
  readonly #terms: ProgressTerms
  readonly #startMs = performance.now()
  #shownMs = performance.now()
  #done = 0

  constructor(stream: NodeJS.WriteStream, terms: ProgressTerms) {
    this.#stream = stream
    this.#terms = terms
  }

  advance(steps: number): void {
    this.#done += steps
    const nowMs = performance.now()
    if (nowMs - this.#shownMs < (this.#stream.isTTY ? REDRAW_MS : LINE_MS)) return
    this.#shownMs = nowMs
    this.#show(this.#state())
  }

  /** Shows the last state, and leaves the line. What is whole is at 100 %, however good the estimate was. */
  end(isWhole: boolean): void {
    this.#show(this.#state(isWhole))
    if (this.#stream.isTTY) this.#stream.write('\n')
  }

  #show(text: string): void {
    this.#stream.write(this.#stream.isTTY ? `\r\x1b[2K${text}` : `${text}\n`)
  }

  #state(isWhole = false): string {
    const { noun, total } = this.#terms
    const seconds = (performance.now() - this.#startMs) / 1000
    const rate = this.#done / Math.max(seconds, 0.001)
    const speed = `${Math.round(this.#done)} ${noun}, ${Math.round(rate)}/s`
    if (total === undefined || total === 0) return speed
    // Keys come and go meanwhile: never more than there were.
    const share = isWhole ? 1 : Math.min(1, this.#done / total)
    const left = isWhole || rate === 0 ? '' : `, ${duration(Math.max(0, total - this.#done) / rate)} left`
    const bar = '█'.repeat(Math.round(share * BAR_CELLS)).padEnd(BAR_CELLS, '░')
    return `${this.#stream.isTTY ? `${bar} ` : ''}${Math.floor(share * 100)} %, ${speed}${left}`
  }
}

/** Seconds in a form for people: `42 s`, `3 min 5 s`, `2 h`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return inTwo(whole, [60, 'min'], [1, 's'])
  if (whole < 86_400) return inTwo(whole, [3600, 'h'], [60, 'min'])
  return inTwo(whole, [86_400, 'd'], [3600, 'h'])
}

type Unit = readonly [seconds: number, name: string]

function inTwo(seconds: number, [large, name]: Unit, [small, smallName]: Unit): string {
  const rest = Math.floor((seconds % large) / small)
  return `${Math.floor(seconds / large)} ${name}${rest === 0 ? '' : ` ${rest} ${smallName}`}`
}
