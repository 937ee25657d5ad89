type Write = typeof process.stdout.write
type Print = (...values: unknown[]) => void

const CONSOLE = ['debug', 'error', 'info', 'log', 'trace', 'warn'] as const

/** Keeps what this process writes while a run lasts, on its way to where it goes anyway. */
export class OutputWatch {
  readonly #restore: (() => void)[] = []
  readonly #written: string[] = []

  constructor() {
    for (const stream of [process.stdout, process.stderr]) this.#tap(stream)
    // The test runner's console does not write to the process's own streams.
    for (const name of CONSOLE) this.#tapConsole(name)
  }

  get written(): string {
    return this.#written.join('')
  }

  stop(): void {
    for (const restore of this.#restore) restore()
  }

  #tap(stream: NodeJS.WriteStream): void {
    const write: Write = stream.write
    const tapped = (chunk: string | Uint8Array, ...rest: never[]): boolean => {
      this.#written.push(Buffer.from(chunk).toString())
      return Reflect.apply(write, stream, [chunk, ...rest])
    }
    stream.write = tapped as Write
    this.#restore.push(() => {
      stream.write = write
    })
  }

  #tapConsole(name: (typeof CONSOLE)[number]): void {
    const print: Print = console[name]
    console[name] = (...values: unknown[]) => {
      this.#written.push(`${values.map(String).join(' ')}\n`)
      print.apply(console, values)
    }
    this.#restore.push(() => {
      console[name] = print
    })
  }
}
