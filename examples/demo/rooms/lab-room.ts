import { type Response, Router } from 'express'
import { type Html, html } from '../html.ts'
import { page, roomHeading } from '../page.ts'
import { rootOf } from '../slots.ts'

/** A room with a lab: what fails elsewhere, a button, a picture of the run, and what to read next. */
export interface Lab<State> {
  /** As in `ROOMS`. */
  readonly path: string
  readonly title: string
  /** What fails elsewhere, in one sentence. */
  readonly claim: string
  readonly buttons: readonly LabButton[]
  run(choice: string, report: (state: State) => void): Promise<State>
  /** Draws a run, or what there is before the first one. */
  picture(state: State | undefined): Html
  /** What came of a run, in a sentence. */
  outcome(state: State): string
  /** How it works, and what to read next. */
  readonly notes: Html
  /** Why the lab cannot run here; it then shows no button. */
  readonly missing?: Html | undefined
}

export interface LabButton {
  readonly label: string
  readonly choice: string
}

const PICTURE_EVERY_MS = 80
const FAILED = 'The lab could not finish: sessions cannot be reached. Try again.'

/** Serves a lab. With JavaScript a run is a stream of pictures; without, the page shows the last one. */
export function labRoom<State>(lab: Lab<State>): Router {
  const router = Router()
  const runs = new Runs(lab)

  router.get('/', (req, res) => {
    const { state, hasFailed } = runs
    const outcome = hasFailed ? FAILED : state && lab.outcome(state)
    const body = bodyOf(lab, lab.picture(state), outcome)
    const { title, path: current } = lab
    res.send(page(req, { title, current, body, scripts: ['lab.js'], styles: ['labs.css'] }))
  })

  router.post('/', async (req, res) => {
    const run = runs.join(choiceOf(req.body, lab))
    if (req.accepts(['html', 'text/event-stream']) === 'text/event-stream')
      return stream({ lab, runs, run }, res)
    await run
    res.redirect(303, `${rootOf(req)}${lab.path}`)
  })
  return router
}

/** The runs of one lab, one at a time: whoever comes second watches the first. */
class Runs<State> {
  readonly #lab: Lab<State>
  #state: State | undefined
  #running: Promise<void> | undefined
  #hasFailed = false

  constructor(lab: Lab<State>) {
    this.#lab = lab
  }

  /** The last run, as far as it has come. */
  get state(): State | undefined {
    return this.#state
  }

  get hasFailed(): boolean {
    return this.#hasFailed
  }

  /** Resolves when the run is over. Never rejects. */
  join(choice: string): Promise<void> {
    this.#running ??= this.#run(choice).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #run(choice: string): Promise<void> {
    this.#hasFailed = false
    try {
      this.#state = await this.#lab.run(choice, (state) => {
        this.#state = state
      })
    } catch (error) {
      this.#hasFailed = true
      console.error(error instanceof Error ? error.message : error)
    }
  }
}

interface Watched<State> {
  readonly lab: Lab<State>
  readonly runs: Runs<State>
  readonly run: Promise<void>
}

/** Sends a picture whenever the run has come further, and at its end what came of it. */
async function stream<State>({ lab, runs, run }: Watched<State>, res: Response): Promise<void> {
  res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  res.flushHeaders()
  let shown: State | undefined
  const show = () => {
    const { state } = runs
    if (state === undefined || state === shown) return
    shown = state
    res.write(eventOf('picture', lab.picture(state).toString()))
  }
  const timer = setInterval(show, PICTURE_EVERY_MS)
  await run
  clearInterval(timer)
  show()
  const { state, hasFailed } = runs
  res.end(eventOf('outcome', hasFailed || state === undefined ? FAILED : lab.outcome(state)))
}

function eventOf(name: string, text: string): string {
  const lines = text.split('\n').map((line) => `data: ${line}\n`)
  return `event: ${name}\n${lines.join('')}\n`
}

function choiceOf(body: unknown, { buttons }: Pick<Lab<unknown>, 'buttons'>): string {
  const named: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'choice') : undefined
  return (buttons.find(({ choice }) => choice === named) ?? buttons[0])?.choice ?? ''
}

function bodyOf<State>(lab: Lab<State>, picture: Html, outcome: string | undefined): Html {
  return html`${roomHeading(lab.title, lab.claim)}
    <div class="lab">
      ${lab.missing ?? buttonsForm(lab)}
      <p class="lab-outcome" role="status" data-outcome>${outcome}</p>
      <div data-picture>${picture}</div>
      <div class="lab-notes">${lab.notes}</div>
    </div>`
}

function buttonsForm({ path, buttons }: Pick<Lab<unknown>, 'path' | 'buttons'>): Html {
  const look = buttons.length === 1 && html` class="primary"`
  return html`<form method="post" action="${path}" class="actions" data-lab>
        ${buttons.map(({ label, choice }) => html`<button name="choice" value="${choice}"${look}>${label}</button>`)}
      </form>`
}

/** Where to read on: a page of docs/, which the demo serves as it is. */
export function readNext(file: string, words: string): Html {
  return html`<p>Read next: <a href="/docs/${file}">${words}</a></p>`
}
