import { Router } from 'express'
import type { Demo } from '../demo.ts'
import { notice, page } from '../page.ts'

export function admin(_demo: Demo): Router {
  const router = Router()
  router.get('/', (request, response) => {
    const body = notice('In the making', 'This room is not furnished yet.')
    response.send(page(request, { title: 'In the making', current: 'admin', body }))
  })
  return router
}
