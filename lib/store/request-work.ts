import type { Predecessor } from '../registry/membership.ts'

interface Work {
  readonly underWay: Set<Promise<unknown>>
  failure: Failure | undefined
  /** Why the last save that was asked for failed. */
  saveFailure: Failure | undefined
  /** The content of a save that failed, of which its caller was told. */
  refused: string | undefined
  isConcluded: boolean
}

interface Failure {
  readonly error: unknown
}

interface Ending {
  readonly sid: string
  readonly ended: Promise<Predecessor | undefined>
}

/** Keeps account of the writes each request asked for, so that its response can wait for them. */
export class RequestWork {
  readonly #works = new WeakMap<object, Work>()
  readonly #endings = new WeakMap<object, Ending>()

  /** A save: to be waited for. If it fails, what it wanted to store is still unsaved and will be tried again. */
  addSave(req: object, save: Promise<unknown>): void {
    const work = this.#workOf(req)
    const judged = save.then(
      () => {
        work.saveFailure = undefined
      },
      (error: unknown) => {
        work.saveFailure = { error }
      },
    )
    this.#add(work, judged)
  }

  /** Throws what the last save failed with. */
  checkSave(req: object): void {
    const failure = this.#works.get(req)?.saveFailure
    if (failure) throw failure.error
  }

  /** The response ends: who asks for a save or a touch from here on is not the app. */
  conclude(req: object): void {
    this.#workOf(req).isConcluded = true
  }

  isConcluded(req: object): boolean {
    return this.#works.get(req)?.isConcluded ?? false
  }

  /** The caller of a save was told that this content could not be stored; none if it was. */
  told(req: object, refused: string | undefined): void {
    this.#workOf(req).refused = refused
  }

  refusedContent(req: object): string | undefined {
    return this.#works.get(req)?.refused
  }

  /** An ending: nothing tries it again, so a failure is kept until it is told. */
  addEnding(req: object, ending: Promise<unknown>): void {
    const work = this.#workOf(req)
    const judged = ending.catch((error: unknown) => {
      work.failure ??= { error }
    })
    this.#add(work, judged)
  }

  /** To be waited for. Its callback hears of a failure. */
  addTold(req: object, write: Promise<unknown>): void {
    this.#add(this.#workOf(req), write)
  }

  /** Ends a request's session, or returns the outcome of its having done so. A failure may be tried again. */
  endOnce(req: object, sid: string, end: () => Ending['ended']): Ending['ended'] {
    const before = this.#endings.get(req)
    if (before?.sid === sid) return before.ended
    const ended = end()
    this.#endings.set(req, { sid, ended })
    ended.catch(() => this.#endings.delete(req))
    return ended
  }

  /** Resolves when nothing is under way; rejects with the first failed ending, once. */
  async settle(req: object): Promise<void> {
    const work = this.#works.get(req)
    if (work === undefined) return
    while (work.underWay.size > 0) await Promise.all(work.underWay)
    const { failure } = work
    work.failure = undefined
    if (failure) throw failure.error
  }

  /** Whether nothing is under way, and nothing has failed untold. */
  isIdle(req: object): boolean {
    const work = this.#works.get(req)
    return work === undefined || (work.underWay.size === 0 && work.failure === undefined)
  }

  #add(work: Work, write: Promise<unknown>): void {
    const settled = write.then(
      () => {},
      () => {},
    )
    work.underWay.add(settled)
    settled.then(() => work.underWay.delete(settled))
  }

  #workOf(req: object): Work {
    const known = this.#works.get(req)
    if (known) return known
    const work: Work = {
      underWay: new Set(),
      failure: undefined,
      saveFailure: undefined,
      refused: undefined,
      isConcluded: false,
    }
    this.#works.set(req, work)
    return work
  }
}
