import { Router } from 'express'
import type { Demo } from '../demo.ts'
import { pictogram, sealDrawing } from '../drawings.ts'
import { html } from '../html.ts'
import { page } from '../page.ts'
import { ROOMS } from '../rooms.ts'

/** What the package is, and where to go. */
export function home(_demo: Demo): Router {
  const router = Router()
  router.get('/', (request, response) => {
    const body = html`<section class="hero">
        <div>
          <h1>A session store whose sign-out stays signed out.</h1>
          <p class="lead">express-session-valkey keeps the sessions of an Express app sealed on Valkey, loses no
            parallel change, and answers an outage honestly. Each room shows one of these at work.</p>
          <div class="actions">
            ${
              response.locals['user']
                ? html`<a class="button primary" href="devices">My devices</a>`
                : html`<a class="button primary" href="sign-in">Sign in</a>`
            }
            <a class="button" href="race-lab">Start a race</a>
          </div>
        </div>
        ${sealDrawing()}
      </section>
      <ul class="tiles">
        ${ROOMS.filter(({ tile }) => tile).map(
          ({ path, title, tile }) => html`<li class="tile">
          ${pictogram(path)}
          <h2><a href="${path}">${title}</a></h2>
          <p>${tile}</p>
        </li>`,
        )}
      </ul>
      <p class="soft">Then compare what it costs: <a href="numbers">the numbers</a>, as the benchmarks print them.</p>`
    response.send(page(request, { title: 'A sign-out that stays', current: '', body }))
  })
  return router
}
