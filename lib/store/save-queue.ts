/** Puts the saves of one session in this process in order, so that they build on each other instead of colliding. */
export class SaveQueue {
  readonly #tails = new Map<string, Promise<void>>()

  run<Value>(handle: string, save: () => Promise<Value>): Promise<Value> {
    const turn = (this.#tails.get(handle) ?? Promise.resolve()).then(save)
    const tail: Promise<void> = turn.then(
      () => this.#leave(handle, tail),
      () => this.#leave(handle, tail),
    )
    this.#tails.set(handle, tail)
    return turn
  }

  #leave(handle: string, tail: Promise<void>): void {
    if (this.#tails.get(handle) === tail) this.#tails.delete(handle)
  }
}
