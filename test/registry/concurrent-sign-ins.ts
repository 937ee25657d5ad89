import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Browser } from '../store/browser.ts'
import type { SignInReport, SignInSetting } from './concurrent-sign-ins-process.ts'
import { newUser } from './requests.ts'

/** Apps on one Valkey, each in a process of its own. */
export class SignInProcesses {
  /** By process, and in it by cap. */
  readonly #origins: readonly (readonly string[])[]
  readonly #caps: readonly number[]
  readonly #close: () => Promise<unknown>

  private constructor(
    origins: readonly (readonly string[])[],
    { caps }: SignInSetting,
    close: () => Promise<unknown>,
  ) {
    this.#origins = origins
    this.#caps = caps
    this.#close = close
  }

  static async start(processes: number, setting: SignInSetting): Promise<SignInProcesses> {
    const program = new URL('./concurrent-sign-ins-process.ts', import.meta.url)
    const children = Array.from({ length: processes }, () =>
      fork(program, [JSON.stringify(setting)], { execArgv: ['--import', 'tsx'] }),
    )
    const close = () =>
      Promise.all(
        children.map(async (child) => {
          const exited = once(child, 'exit')
          child.disconnect()
          await exited
        }),
      )
    const origins = await Promise.all(
      children.map(async (child) => ((await once(child, 'message')) as [string[]])[0]),
    )
    return new SignInProcesses(origins, setting, close)
  }

  async stop(): Promise<void> {
    await this.#close()
  }

  /** As many sign-ins of one user at once, spread over the processes; then every cookie is tried. */
  async round(cap: number, signIns: number): Promise<Round> {
    const origins = this.#origins.map((byCap) => byCap[this.#caps.indexOf(cap)] ?? '')
    const user = newUser().replace(' ', '-')
    const browsers = Array.from({ length: signIns }, (_, at) => new Browser(...rotated(origins, at)))
    const pages = await Promise.all(browsers.map((browser) => browser.post(`/sign-in/${user}`)))
    const answers = pages.map(({ body }) => body as { handle: string; outcome: string })
    const users = await Promise.all(browsers.map((browser) => browser.get('/user')))
    const isAccepted = users.map(({ body }) => (body as { user: string | null }).user === user)
    const reports = await Promise.all(origins.map((origin) => new Browser(origin).get('/report')))
    return roundOf(
      answers,
      isAccepted,
      reports.map(({ body }) => body as SignInReport),
    )
  }
}

export interface Round {
  readonly handles: readonly string[]
  /** Those whose cookies are good afterwards. */
  readonly accepted: readonly string[]
  /** All of them, the last to be enrolled first. */
  readonly newestFirst: readonly string[]
  readonly orders: readonly number[]
  readonly evicted: readonly string[]
  readonly outcomes: ReadonlySet<string>
}

function roundOf(
  answers: readonly { handle: string; outcome: string }[],
  isAccepted: readonly boolean[],
  reports: readonly SignInReport[],
): Round {
  const orders = reports.flatMap((report) => report.orders).toSorted(([, a], [, b]) => b - a)
  const handles = answers.map(({ handle }) => handle)
  return {
    handles,
    accepted: handles.filter((_, at) => isAccepted[at]),
    newestFirst: orders.map(([handle]) => handle),
    orders: orders.map(([, order]) => order),
    evicted: reports.flatMap((report) => report.evicted),
    outcomes: new Set(answers.map(({ outcome }) => outcome)),
  }
}

function rotated<Item>(items: readonly Item[], by: number): Item[] {
  return items.map((_, at) => items[(at + by) % items.length] as Item)
}
