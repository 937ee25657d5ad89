import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** One request kind in one state of the server. */
export interface Cell {
  readonly status: number
  /** What else there is to say of the answer, such as `cookie kept`. */
  readonly note: string | undefined
  readonly firstMs: number
  /** What most of the following ones took. */
  readonly thenMs: number
}

export interface Row {
  readonly name: string
  /** The store's reasons. */
  readonly reasons: readonly string[]
  readonly cells: readonly Cell[]
}

const PAGE = fileURLToPath(new URL('../../docs/OPERATIONS.md', import.meta.url))
const BETWEEN_MARKERS = /(?<=<!-- outage table -->\n)[\s\S]*?(?=<!-- \/outage table -->)/

/** The table as Markdown. */
export function renderTable(columns: readonly string[], rows: readonly Row[]): string {
  const head = ['server', 'reason', ...columns]
  const lines = rows.map(({ name, reasons, cells }) => [
    name,
    reasons.map((reason) => `\`${reason}\``).join(', ') || '–',
    ...cells.map(renderCell),
  ])
  return `${[head, head.map(() => '---'), ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n')}\n`
}

function renderCell({ status, note, firstMs, thenMs }: Cell): string {
  const answer = note === undefined ? String(status) : `${status}, ${note}`
  return `${answer}; ${rounded(firstMs)} ms, then ${rounded(thenMs)} ms`
}

function rounded(ms: number): number {
  return Math.max(1, ms < 20 ? Math.round(ms) : Math.round(ms / 10) * 10)
}

/** What of a table does not change from run to run. */
export function shapeOf(table: string): string {
  return table.replaceAll(/; \d+ ms, then \d+ ms/g, '')
}

/** The table that the page shows; throws if it has no place for one. */
export function publishedTable(): string {
  const [table] = BETWEEN_MARKERS.exec(readFileSync(PAGE, 'utf8')) ?? []
  if (table === undefined) {
    throw new Error(
      'docs/OPERATIONS.md needs a line <!-- outage table --> and, below, a line <!-- /outage table -->',
    )
  }
  return table.trim()
}

export function publishTable(table: string): void {
  publishedTable()
  writeFileSync(
    PAGE,
    readFileSync(PAGE, 'utf8').replace(BETWEEN_MARKERS, () => table),
  )
}
