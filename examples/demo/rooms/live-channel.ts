import { Router } from 'express'
import type { Demo } from '../demo.ts'
import { endingSentence } from '../endings.ts'
import { writeEvent } from '../live.ts'

/** The live channel of a signed-in device: what happens to its user's sessions, on whatever instance. */
export function liveChannel({ store, live, users }: Demo): Router {
  const router = Router()
  router.get('/live', async (request, response) => {
    const { userId } = request.session
    // 204 tells an EventSource to stay away.
    if (userId === undefined) return void response.status(204).end()
    live.open(response, `user:${userId}`)
    const handle = store.handle(request.sessionID)
    const watch = store.registry.watch({ userId }, { signal: closed(response) })
    for await (const ending of watch) {
      if (ending.handle !== handle) {
        writeEvent(response, 'changed', {})
        continue
      }
      const sentence = endingSentence(ending, users.get(ending.actor.id ?? '')?.name)
      writeEvent(response, 'ended', { sentence })
      response.end()
      return
    }
  })
  return router
}

function closed(response: { once(event: 'close', listener: () => void): unknown }): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => controller.abort())
  return controller.signal
}
