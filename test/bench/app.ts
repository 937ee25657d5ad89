import type { AppArgs, AppMemory, AppTask } from './app-process.ts'
import { type CandidateName, isAvailable, type Place } from './candidates.ts'
import type { LoadReply, LoadRequest, LoadTask } from './load-process.ts'
import type { Trial } from './rounds.ts'
import { Subject } from './subject.ts'

/** A candidate as an app has it: a store, with or without the guard before it. */
export type AppName = CandidateName | 'ours guarded'

/** A process with an Express app, and the sessions that its clients have. */
export interface App {
  readonly name: AppName
  readonly port: number
  readonly cookies: readonly string[]
  /** CPU time since it began, in µs. */
  readonly usage: () => Promise<number>
  readonly memory: () => Promise<AppMemory>
  readonly stop: () => Promise<void>
}

/** The process that makes requests. */
export type Load = Subject<LoadTask, LoadReply>

export function startLoad(): Promise<Load> {
  return Subject.start('load-process.ts')
}

/** Starts an app for each candidate that can run here, each with a session for every client. */
export async function startApps(names: readonly AppName[], place: Place, clients: number): Promise<App[]> {
  const apps: App[] = []
  for (const name of names) {
    if (name === 'ours guarded' || (await isAvailable(name))) apps.push(await startApp(name, place, clients))
  }
  return apps
}

export async function startApp(name: AppName, place: Place, clients: number): Promise<App> {
  const isGuarded = name === 'ours guarded'
  const args: AppArgs = { candidate: isGuarded ? 'ours signed' : name, place, isGuarded }
  const subject = await Subject.start<AppTask, unknown>('app-process.ts', args, ['--expose-gc'])
  const port = (await subject.ask('port')) as number
  const cookies: string[] = []
  for (let client = 0; client < clients; client += 1) cookies.push(await begin(port))
  return {
    name,
    port,
    cookies,
    usage: async () => (await subject.ask('usage')) as number,
    memory: async () => (await subject.ask('memory')) as AppMemory,
    stop: () => subject.stop(),
  }
}

async function begin(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/begin`)
  await response.text()
  const cookie = response.headers.getSetCookie()[0]?.split(';', 1)[0]
  if (!response.ok || cookie === undefined) throw new Error(`Beginning a session: ${response.status}`)
  return cookie
}

/** What a client with this cookie sends over and over. */
export const ROUTES = {
  'read-only': (cookie) => [get('/read', cookie)],
  writing: (cookie) => [get('/write', cookie)],
  login: () => [{ method: 'POST', path: '/login' }],
  'mixed 95/5': (cookie) =>
    Array.from({ length: 20 }, (_, at) => get(at === 10 ? '/write' : '/read', cookie)),
} as const satisfies Record<string, (cookie: string) => readonly LoadRequest[]>

export type Route = keyof typeof ROUTES

function get(path: string, cookie: string): LoadRequest {
  return { method: 'GET', path, headers: { cookie } }
}

export interface Visits {
  readonly route: Route
  readonly amount: number
  readonly clients: number
  /** Whether all clients share one session. */
  readonly isShared?: boolean
}

export function visitTask(app: App, { route, amount, clients, isShared = false }: Visits): LoadTask {
  const cookies = app.cookies.slice(0, clients).map((cookie) => (isShared ? (app.cookies[0] ?? '') : cookie))
  return { port: app.port, amount, clients: cookies.map((cookie) => ROUTES[route](cookie)) }
}

/** Has the load visit the app; CPU of the app's process for a request, and what the clients saw. */
export function visit(app: App, load: Load, visits: Visits): Trial {
  const task = visitTask(app, visits)
  return {
    candidate: app.name,
    run: async () => {
      const before = await app.usage()
      const reply = await load.ask(task)
      return { cpuMicros: ((await app.usage()) - before) / visits.amount, ...reply }
    },
  }
}
