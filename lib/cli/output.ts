import { Progress } from './progress.ts'

export interface OutputStreams {
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
}

/** Prints what a command finds on `stdout`, as text or JSON, and everything else on `stderr`. */
export class Output {
  readonly isJson: boolean
  readonly #streams: OutputStreams

  constructor(streams: OutputStreams, isJson: boolean) {
    this.#streams = streams
    this.isJson = isJson
  }

  /** Prints one finding: `text` for people, `value` as one line of JSON. */
  print(value: object, text: string): void {
    this.#streams.stdout.write(`${this.isJson ? JSON.stringify(value) : text}\n`)
  }

  /** Prints findings that belong together: a table for people, `value` as one document of JSON. */
  table(value: object, columns: readonly string[], rows: readonly (readonly string[])[]): void {
    this.#streams.stdout.write(`${this.isJson ? JSON.stringify(value, null, 2) : tableOf(columns, rows)}\n`)
  }

  note(text: string): void {
    this.#streams.stderr.write(`${printable(text)}\n`)
  }

  /** A progress display for a piece of work of about `total` steps. */
  progress(noun: string, total: number | undefined): Progress {
    return new Progress(this.#streams.stderr, { noun, total })
  }
}

/** The text without control characters, with which a stored text could command the terminal. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => (char === '\n' ? '\n' : '?'))
}

function tableOf(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [columns, ...rows].map((row) => row.map((cell) => printable(cell).replaceAll('\n', ' ')))
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? '').length)))
  const padded = (line: readonly string[]) =>
    line
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd()
  return lines.map(padded).join('\n')
}
