import { type Request, Router } from 'express'
import type { ActiveSession, EndedSession, RegisteredSession } from 'express-session-valkey'
import { type Demo, requireUser } from '../demo.ts'
import { anotherDevice, deviceRow, pageOf, pages } from '../device-list.ts'
import { endingSentence, sinceThen } from '../endings.ts'
import { type Html, html } from '../html.ts'
import { page, roomHeading } from '../page.ts'
import { rootOf, SLOTS, slotOf } from '../slots.ts'
import type { DemoUser } from '../users.ts'

/** Where somebody is signed in; ending one of these devices, or all others. */
export function devices(demo: Demo): Router {
  const { store } = demo
  const router = Router()

  router.get('/', async (request, response) => {
    const user = requireUser(demo, request, response, 'devices')
    if (user === undefined) return
    const terms = { includeEnded: true, current: { sid: request.sessionID } }
    const sessions = await store.registry.list(user.id, terms)
    const body = devicesBody(demo, request, user, sessions)
    const scripts = ['devices.js']
    response.send(page(request, { title: 'My devices', current: 'devices', body, scripts }))
  })

  router.post('/:handle/end', async (request, response) => {
    const { userId } = request.session
    const target = { handle: request.params.handle }
    // Only one's own: a handle is no secret.
    if (userId !== undefined && (await store.registry.has(userId, target)))
      await store.registry.end(target, { reason: 'ended-by-user', actor: { type: 'user', id: userId } })
    response.redirect(303, `${rootOf(request)}devices`)
  })

  router.post('/end-others', async (request, response) => {
    const { userId } = request.session
    const except = { sid: request.sessionID }
    const terms = { except, reason: 'signed-out-elsewhere', actor: { type: 'user', id: userId } }
    if (userId !== undefined) await store.registry.endAll(userId, terms)
    response.redirect(303, `${rootOf(request)}devices`)
  })

  return router
}

function devicesBody(
  demo: Demo,
  request: Request,
  user: DemoUser,
  sessions: readonly RegisteredSession[],
): Html {
  const active = sessions.filter((one): one is ActiveSession => one.status === 'active')
  const ended = sessions.filter((one): one is EndedSession => one.status === 'ended')
  // This device first, then as the store lists them: newest first.
  const sorted = [...active.filter(({ isCurrent }) => isCurrent), ...active.filter((one) => !one.isCurrent)]
  return html`${roomHeading('My devices', html`Everywhere <strong>${user.name}</strong> is signed in. End a device, and it says so at once; its next page says why, and by whom.`)}
      <p class="visually-hidden" role="status" id="said"></p>
      <div id="live">
        <section class="card" aria-labelledby="active">
          <h2 id="active">Signed in <span class="badge">${active.length}</span></h2>
          <ul class="devices">
            ${pageOf(request, sorted).map((session) => deviceRow(session, `devices/${session.handle}/end`))}
          </ul>
          ${pages(request, sorted.length, 'devices')}
          ${
            active.length > 1
              ? html`<form class="actions" method="post" action="devices/end-others"><button class="danger">Sign out everywhere else</button></form>`
              : html`<p class="soft">Only here. Open another device below, and it appears in this list.</p>`
          }
        </section>
        ${ended.length > 0 && endedCard(demo, ended)}
      </div>
      <section class="card" aria-labelledby="another">
        <h2 id="another">Open as another device</h2>
        <p>A new tab with a cookie of its own stands in for it. Put the tabs side by side and end one from the other.</p>
        <div class="actions">
          ${Object.keys(SLOTS)
            .map(Number)
            .filter((slot) => slot !== slotOf(request) && slot !== 4)
            .map((slot) => anotherDevice(slot, user, 'devices'))}
        </div>
      </section>`
}

function endedCard({ users }: Demo, ended: readonly EndedSession[]): Html {
  return html`<section class="card" aria-labelledby="ended">
          <h2 id="ended">Ended</h2>
          <ul class="devices">
            ${ended.slice(0, 5).map((session) =>
              deviceRow(
                session,
                undefined,
                html`${endingSentence(session.ending, users.get(session.ending.actor.id ?? '')?.name)}
              ${sinceThen(session.ending.at)}`,
              ),
            )}
          </ul>
        </section>`
}
