interface Work {
  readonly underWay: Set<Promise<unknown>>
  failure: { readonly error: unknown } | undefined
}

/** Keeps account of the writes each request asked for, so that its response can wait for them. */
export class RequestWork {
  readonly #works = new WeakMap<object, Work>()

  /** A save: to be waited for. If it fails, what it wanted to store is still unsaved and will be tried again. */
  addSave(req: object, save: Promise<unknown>): void {
    this.#add(this.#workOf(req), save)
  }

  /** An ending: nothing tries it again, so a failure is kept until it is told. */
  addEnding(req: object, ending: Promise<unknown>): void {
    const work = this.#workOf(req)
    const judged = ending.catch((error: unknown) => {
      work.failure ??= { error }
    })
    this.#add(work, judged)
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
    const work: Work = { underWay: new Set(), failure: undefined }
    this.#works.set(req, work)
    return work
  }
}
