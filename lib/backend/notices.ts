import type { EndNotice, NoticeListener } from './backend.ts'

/** One subscription: the same listener may have several. */
export interface Subscriber {
  readonly listener: NoticeListener
}

/**
 * The listeners of one backend. Each is called separately and later, so that it cannot disturb other listeners or the verb that
 * it is notified of.
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

  notify(notice: EndNotice): void {
    for (const subscriber of this.#subscribers)
      this.#later(subscriber, ({ listener }) => listener.notice(notice))
  }

  notifyGap(subscriber: Subscriber): void {
    this.#later(subscriber, ({ listener }) => listener.gap())
  }

  notifyAllGap(): void {
    for (const subscriber of this.#subscribers) this.notifyGap(subscriber)
  }

  #later(subscriber: Subscriber, call: (subscriber: Subscriber) => void): void {
    queueMicrotask(() => {
      if (this.#subscribers.has(subscriber)) call(subscriber)
    })
  }
}
