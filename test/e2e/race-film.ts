import type { RaceScore } from '../../examples/demo/labs/race.ts'

/** What a race had counted at a time. */
export interface RaceFrame {
  readonly atMs: number
  readonly scores: readonly RaceScore[]
}

export interface RaceTotals {
  readonly signOuts: number
  readonly updates: number
}

const WIDTH = 880
const HEIGHT = 236
const COLUMN = 440
const BAR = { width: 380, height: 22 } as const
const HOLD_MS = 3000
const SAMPLES = 40
const DIGITS_HEIGHT = 40

const STYLE = `
text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: #0f201e }
.page { fill: #fff } .soft { fill: #4a5f5b } .open { fill: #e8efed } .good { fill: #08696b } .bad { fill: #b1251d }
@media (prefers-color-scheme: dark) {
  text { fill: #e5efed } .page { fill: #14201e } .soft { fill: #9db3af } .open { fill: #0a100f } .good { fill: #57d2c7 } .bad { fill: #ff9d92 }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important } }`

/** Draws a race that was run as an SVG that plays it, over and over; without motion it shows the end. */
export function raceFilm(frames: readonly RaceFrame[], totals: RaceTotals): string {
  const lastMs = frames.at(-1)?.atMs ?? 0
  const sampled = Array.from({ length: SAMPLES + 1 }, (_, at) => {
    const atMs = (at / SAMPLES) * lastMs
    return frames.findLast((frame) => frame.atMs <= atMs) ?? frames[0]
  }).filter((frame) => frame !== undefined)
  const film = new Film(lastMs + HOLD_MS, lastMs)
  const last = sampled.at(-1)
  const rows = (last?.scores ?? []).flatMap(({ name }, row) => [
    bar(film, { name, row, column: 0, of: totals.signOuts }, sampled, ({ signedOut, cameBack }) => ({
      ...{ number: cameBack, done: signedOut, bad: cameBack },
    })),
    bar(film, { name, row, column: 1, of: totals.updates }, sampled, ({ acknowledged, kept }) => ({
      ...{ number: kept, done: Math.max(acknowledged, kept), bad: Math.max(acknowledged - kept, 0) },
    })),
  ])
  const said = (last?.scores ?? []).map(
    ({ name, cameBack, kept }) =>
      `${name}: ${cameBack} of ${totals.signOuts} came back, ${kept} of ${totals.updates} updates kept`,
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="title">
<title id="title">The race lab. ${said.join('. ')}.</title>
<style>${STYLE}${film.keyframes()}
</style>
<rect class="page" width="${WIDTH}" height="${HEIGHT}" rx="14"/>
${heading(0, 'Came back after signing out')}
${heading(1, 'Updates kept')}
${rows.join('\n')}
</svg>
`
}

interface Counts {
  readonly number: number
  readonly done: number
  readonly bad: number
}

interface BarPlace {
  readonly name: string
  readonly row: number
  readonly column: number
  readonly of: number
}

/** The times of the film, and how each of its parts moves. */
class Film {
  readonly #lengthMs: number
  readonly #lastMs: number
  readonly #rules: string[] = []

  constructor(lengthMs: number, lastMs: number) {
    this.#lengthMs = lengthMs
    this.#lastMs = lastMs
  }

  /** The class of a part that has these values of `transform` at times that are equally far apart. */
  moves(transforms: readonly string[]): string {
    const name = `m${this.#rules.length}`
    const share = this.#lastMs / this.#lengthMs / (transforms.length - 1)
    const steps = transforms.map((value, at) => `${(at * share * 100).toFixed(2)}% { transform: ${value} }`)
    const end = transforms.at(-1) ?? 'none'
    this.#rules.push(
      `.${name} { transform: ${end}; animation: ${name} ${this.#lengthMs / 1000}s step-end infinite }`,
      `@keyframes ${name} { ${steps.join(' ')} 100% { transform: ${end} } }`,
    )
    return name
  }

  keyframes(): string {
    return `\n${this.#rules.join('\n')}`
  }
}

function heading(column: number, words: string): string {
  return `<text x="${30 + column * COLUMN}" y="44" font-size="19" font-weight="650">${words}</text>`
}

function bar(
  film: Film,
  { name, row, column, of }: BarPlace,
  frames: readonly RaceFrame[],
  countsIn: (score: RaceScore) => Counts,
): string {
  const counts = frames.map(({ scores }) => {
    const score = scores[row]
    return score === undefined ? { number: 0, done: 0, bad: 0 } : countsIn(score)
  })
  const id = `c${row}${column}`
  const step = BAR.width / of
  const ticks = Array.from(
    { length: of },
    (_, at) =>
      `M${(at * step + 1).toFixed(1)} 0h${(step - 2).toFixed(1)}v${BAR.height}h-${(step - 2).toFixed(1)}z`,
  ).join('')
  const clip = (kind: string, ends: readonly number[]) => {
    const moving = film.moves(ends.map((end) => `scaleX(${(end / of).toFixed(4)})`))
    return `<clipPath id="${id}${kind}"><rect class="${moving}" width="${BAR.width}" height="${BAR.height}"/></clipPath>
<path class="${kind}" clip-path="url(#${id}${kind})" d="${ticks}"/>`
  }
  const weight = row === 0 ? 650 : 400
  return `<g transform="translate(${30 + column * COLUMN} ${110 + row * 82})">
<text y="-10" font-size="16" font-weight="${weight}">${name}</text>
${digits(film, counts, of)}
<path class="open" d="${ticks}"/>
${clip(
  'bad',
  counts.map(({ done }) => done),
)}
${clip(
  'good',
  counts.map(({ done, bad }) => done - bad),
)}
</g>`
}

/** The numbers below each other, behind a window that shows one of them. */
function digits(film: Film, counts: readonly Counts[], of: number): string {
  const numbers = [...new Set(counts.map(({ number }) => number))]
  const moving = film.moves(
    counts.map(({ number }) => `translateY(${-numbers.indexOf(number) * DIGITS_HEIGHT}px)`),
  )
  const texts = numbers.map(
    (number, at) =>
      `<text x="323" y="${at * DIGITS_HEIGHT - 10}" font-size="36" font-weight="700" text-anchor="end">${number}</text>`,
  )
  return `<clipPath id="w${moving}"><rect x="205" y="-41" width="120" height="${DIGITS_HEIGHT}"/></clipPath>
<g clip-path="url(#w${moving})"><g class="${moving}">${texts.join('')}</g></g>
<text class="soft" x="332" y="-10" font-size="16">of ${of}</text>`
}
