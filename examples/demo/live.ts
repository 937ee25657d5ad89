import type { Response } from 'express'

/** Server-sent events, by topic: `open` connects a response, `send` writes to all that are connected. */
export class LiveHub {
  readonly #byTopic = new Map<string, Set<Response>>()

  /** Begins a stream; it ends with its connection, or by `response.end()`. */
  open(response: Response, topic: string): void {
    const members = this.#byTopic.get(topic) ?? new Set()
    this.#byTopic.set(topic, members.add(response))
    response.once('close', () => {
      members.delete(response)
      if (members.size === 0 && this.#byTopic.get(topic) === members) this.#byTopic.delete(topic)
    })
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
    response.write('retry: 1000\n\n')
  }

  send(topic: string, event: string, data: unknown): void {
    for (const response of this.#byTopic.get(topic) ?? []) writeEvent(response, event, data)
  }

  /** Ends every stream. */
  close(): void {
    for (const members of this.#byTopic.values()) for (const response of members) response.end()
  }
}

export function writeEvent(response: Response, event: string, data: unknown): void {
  if (!response.writableEnded) response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}
