import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

type Reply = { readonly value: unknown } | { readonly error: string }

/** A process of its own that does what it is asked, one task after the other: what is measured shares no heap, no compiled
 * code and no event loop with anything else. */
export class Subject<Task, Answer> {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Starts `file` of this folder and waits until it serves. `nodeArgs` are for Node itself. */
  static async start<Task, Answer>(
    file: string,
    args: object = {},
    nodeArgs: readonly string[] = [],
  ): Promise<Subject<Task, Answer>> {
    const child = fork(join(import.meta.dirname, file), [JSON.stringify(args)], {
      // Started by a test, this process knows TypeScript in another way.
      execArgv: ['--import', 'tsx', ...nodeArgs],
      env: { ...process.env, NODE_ENV: 'production' },
    })
    const subject = new Subject<Task, Answer>(child)
    await subject.#reply()
    return subject
  }

  async ask(task: Task): Promise<Answer> {
    const reply = this.#reply()
    this.#child.send(task as object)
    return (await reply) as Answer
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }

  #reply(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const died = (code: number | null) => reject(new Error(`${this.#child.spawnfile} ended with ${code}`))
      this.#child.once('exit', died)
      this.#child.once('message', (reply: Reply) => {
        this.#child.off('exit', died)
        if ('error' in reply) reject(new Error(reply.error))
        else resolve(reply.value)
      })
    })
  }
}

/** In such a process: does every task that it is asked for, until the process that started it is done with it. */
export function serve<Task>(work: (task: Task) => Promise<unknown>): void {
  const send = (reply: Reply) => process.send?.(reply)
  process.on('message', (task: Task) => {
    work(task).then(
      (value) => send({ value }),
      (error: unknown) =>
        send({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
  })
  process.once('disconnect', () => process.exit())
  send({ value: 'serving' })
}

/** What the process was started with. */
export function startedWith<Args>(): Args {
  return JSON.parse(process.argv[2] ?? '{}') as Args
}
