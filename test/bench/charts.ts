/** Charts as SVG: bars with the range of all rounds, and lines over a logarithmic axis. */
import type { Spread } from './result.ts'

export interface BarChart {
  readonly title: string
  readonly unit: string
  readonly groups: readonly { readonly name: string; readonly bars: readonly Bar[] }[]
}

export interface Bar {
  readonly name: string
  readonly value: Spread
}

export interface LineChart {
  readonly title: string
  readonly unit: string
  readonly along: string
  readonly lines: readonly {
    readonly name: string
    readonly points: readonly (readonly [x: number, y: number])[]
  }[]
}

const WIDTH = 760
const NAME_WIDTH = 170
const FIGURE_WIDTH = 120
const BAR = 18
const INK = '#1f2328'
const FAINT = '#d0d7de'

/** Ours blue, peers grey, floors and what stands for no store light. */
function colourOf(name: string): string {
  if (/^(ours|on Valkey|in process|without a store)/.test(name))
    return name.includes('encrypted') ? '#54aeff' : name.includes('guarded') ? '#0550ae' : '#0969da'
  return /^(floor|raw|open|express-jwt)/.test(name) ? '#c8d1da' : '#8c959f'
}

export function barChart({ title, unit, groups }: BarChart): string {
  const most = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value.most)))
  const scale = (WIDTH - NAME_WIDTH - FIGURE_WIDTH) / most
  const parts: string[] = [text({ x: 12, y: 24, size: 15, weight: 600 }, `${title}, ${unit}`)]
  let y = 44
  for (const { name, bars } of groups) {
    parts.push(text({ x: 12, y: y + 12, size: 12, weight: 600 }, name))
    y += 20
    for (const bar of bars) {
      parts.push(...barOf(bar, y, scale))
      y += BAR + 4
    }
    y += 10
  }
  return svg(y, title, parts)
}

function barOf({ name, value }: Bar, y: number, scale: number): string[] {
  const middle = y + BAR / 2
  const [from, median, to] = [value.least, value.median, value.most].map(
    (figure) => NAME_WIDTH + figure * scale,
  )
  const width = (median ?? 0) - NAME_WIDTH
  return [
    text({ x: NAME_WIDTH - 8, y: middle + 4, size: 12, anchor: 'end' }, name),
    `<rect x="${NAME_WIDTH}" y="${y}" width="${round(width)}" height="${BAR}" fill="${colourOf(name)}"/>`,
    `<path d="M${round(from)} ${middle}H${round(to)}M${round(from)} ${middle - 4}v8M${round(to)} ${middle - 4}v8" stroke="${INK}" fill="none"/>`,
    text({ x: (to ?? 0) + 8, y: middle + 4, size: 12 }, figure(value.median)),
  ]
}

const PLOT = { left: 64, top: 44, right: 20, bottom: 46, height: 300 } as const
const COLOURS = ['#0969da', '#bc4c00', '#1a7f37', '#8250df', '#57606a']

export function lineChart({ title, unit, along, lines }: LineChart): string {
  const points = lines.flatMap((line) => line.points)
  const exponents = points.map(([x]) => Math.log10(x))
  const [first, last] = [Math.floor(Math.min(...exponents)), Math.ceil(Math.max(...exponents))]
  const top = niceTop(Math.max(...points.map(([, y]) => y)))
  const bottom = PLOT.height - PLOT.bottom
  const xOf = (x: number) =>
    PLOT.left + ((Math.log10(x) - first) / Math.max(1, last - first)) * (WIDTH - PLOT.left - PLOT.right)
  const yOf = (y: number) => bottom - (y / top) * (bottom - PLOT.top)
  const parts: string[] = [text({ x: 12, y: 24, size: 15, weight: 600 }, `${title}, ${unit}`)]
  for (let exponent = first; exponent <= last; exponent += 1) {
    const x = xOf(10 ** exponent)
    parts.push(text({ x, y: bottom + 18, size: 12, anchor: 'middle' }, (10 ** exponent).toLocaleString('en')))
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = round(yOf(top * share))
    parts.push(`<path d="M${PLOT.left} ${y}H${WIDTH - PLOT.right}" stroke="${FAINT}" fill="none"/>`)
    parts.push(text({ x: PLOT.left - 8, y: y + 4, size: 12, anchor: 'end' }, figure(top * share)))
  }
  parts.push(text({ x: WIDTH / 2, y: PLOT.height - 8, size: 12, anchor: 'middle' }, along))
  for (const [at, { name, points: own }] of lines.entries()) {
    const colour = COLOURS[at % COLOURS.length] ?? INK
    const path = own.map(([x, y]) => `${round(xOf(x))} ${round(yOf(y))}`).join('L')
    parts.push(`<path d="M${path}" stroke="${colour}" stroke-width="2" fill="none"/>`)
    parts.push(
      ...own.map(([x, y]) => `<circle cx="${round(xOf(x))}" cy="${round(yOf(y))}" r="3" fill="${colour}"/>`),
    )
    const keyX = PLOT.left + 12 + at * 200
    parts.push(`<rect x="${keyX}" y="${PLOT.top - 10}" width="10" height="10" fill="${colour}"/>`)
    parts.push(text({ x: keyX + 16, y: PLOT.top - 1, size: 12 }, name))
  }
  return svg(PLOT.height, title, parts)
}

/** The least of 1, 2, 5, 10, 20 … that is not less. */
function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power
}

interface TextStyle {
  readonly x: number
  readonly y: number
  readonly size: number
  readonly weight?: number
  readonly anchor?: 'middle' | 'end'
}

function text({ x, y, size, weight = 400, anchor }: TextStyle, content: string): string {
  const place = anchor === undefined ? '' : ` text-anchor="${anchor}"`
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" font-weight="${weight}"${place} fill="${INK}">${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;')
}

function svg(height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function round(value: number | undefined): number {
  return Math.round(10 * (value ?? 0)) / 10
}

/** A figure with as many digits as can be read at a glance. */
export function figure(value: number): string {
  const size = Math.abs(value)
  if (size >= 1000) return Math.round(value).toLocaleString('en')
  return size >= 100 ? value.toFixed(0) : String(Number(value.toFixed(size >= 10 ? 1 : 2)))
}
