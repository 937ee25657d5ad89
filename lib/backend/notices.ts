import type { EndNotice, NoticeListener } from './backend.ts'

/** One subscription: the same listener may have several. */
export interface Subscriber {
  readonly listener: NoticeListener
}

/**
 * The listeners of one backend. Each is called on its own and later, so that what it does or throws touches neither
 * the others nor the verb it was told of.
 */
export class Notices {
  readonly #subscribers = new Set<Subscriber>()

  get hasListeners(): boolean {
    return this.#subscribers.size > 0
  }

  add(listener: NoticeListener): Subscriber {
    const subscriber = { listener }
    this.#subscribers.add(subscriber)
    return subscriber
  }

  remove(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
  }

  clear(): void {
    this.#subscribers.clear()
  }

  tell(notice: EndNotice): void {
    for (const subscriber of this.#subscribers)
      this.#later(subscriber, ({ listener }) => listener.notice(notice))
  }

  tellGap(subscriber: Subscriber): void {
    this.#later(subscriber, ({ listener }) => listener.gap())
  }

  tellAllGap(): void {
    for (const subscriber of this.#subscribers) this.tellGap(subscriber)
  }

  #later(subscriber: Subscriber, call: (subscriber: Subscriber) => void): void {
    queueMicrotask(() => {
      if (this.#subscribers.has(subscriber)) call(subscriber)
    })
  }
}
