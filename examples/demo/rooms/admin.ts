import { type Request, type Response, Router } from 'express'
import type { ActiveSession, EndedSession, RegisteredSession } from 'express-session-valkey'
import { type Demo, signedInUser } from '../demo.ts'
import { anotherDevice, deviceRow, pageOf, pages } from '../device-list.ts'
import { deviceName } from '../devices.ts'
import { ADMIN_REASONS, actorName, reasonText, sinceThen } from '../endings.ts'
import { fillWithDevices } from '../filling.ts'
import { type Html, html } from '../html.ts'
import { notice, page, roomHeading } from '../page.ts'
import { rootOf } from '../slots.ts'
import type { DemoUser } from '../users.ts'

interface UserSessions {
  readonly user: DemoUser
  readonly active: readonly ActiveSession[]
  readonly ended: readonly EndedSession[]
}

const LOGGED = 30
const MANY = 200

/** All users with their sessions and tokens, ending them with a reason, and the log of endings. */
export function admin(demo: Demo): Router {
  const { store, users } = demo
  const router = Router()

  router.use((request, response, next) => {
    if (signedInUser(demo, request)?.isAdmin) next()
    else refuse(demo, request, response)
  })

  router.get('/', async (request, response) => {
    const search = String(request.query['q'] ?? '').trim()
    const all = await Promise.all(users.all.map((user) => sessionsOf(demo, user)))
    const body = html`${roomHeading('Admin', 'Every user, where they are signed in, and how sessions have ended.')}
      ${usersCard(all, search)}
      ${logCard(demo, all)}`
    response.send(page(request, { title: 'Admin', current: 'admin', body, scripts: ['devices.js'] }))
  })

  router.get('/users/:id', async (request, response, next) => {
    const user = users.get(request.params.id)
    if (user === undefined) return next()
    const body = userBody(request, await sessionsOf(demo, user))
    response.send(page(request, { title: user.name, current: 'admin', body, scripts: ['devices.js'] }))
  })

  router.post('/users/:id/end-all', async (request, response) => {
    const terms = { reason: reasonIn(request), actor: actorOf(request) }
    const { ended } = await store.registry.endAll(request.params.id, terms)
    // Whoever ends their own sessions has no page to come back to.
    response.redirect(303, `${rootOf(request)}admin/users/${request.params.id}?ended=${ended.length}`)
  })

  router.post('/users/:id/sessions/:handle/end', async (request, response) => {
    await store.registry.end(
      { handle: request.params.handle },
      { reason: reasonIn(request), actor: actorOf(request) },
    )
    response.redirect(303, `${rootOf(request)}admin/users/${request.params.id}?ended=1`)
  })

  router.post('/users/:id/fill', async (request, response, next) => {
    const user = users.get(request.params.id)
    if (user === undefined) return next()
    await fillWithDevices(demo, user.id, MANY)
    response.redirect(303, `${rootOf(request)}admin/users/${user.id}`)
  })

  return router
}

function refuse({ users }: Demo, request: Request, response: Response): void {
  const administrator = users.all.find(({ isAdmin }) => isAdmin)
  const body = notice(
    'For administrators',
    'Only an administrator sees other people’s sessions. Open this room as one in a new tab: a device of its own, from which you can end the session of this one.',
    administrator && anotherDevice(4, administrator, 'admin'),
  )
  response.status(403).send(page(request, { title: 'For administrators', current: 'admin', body }))
}

async function sessionsOf({ store }: Demo, user: DemoUser): Promise<UserSessions> {
  const sessions: RegisteredSession[] = await store.registry.list(user.id, { includeEnded: true })
  return {
    user,
    active: sessions.filter((one) => one.status === 'active'),
    ended: sessions.filter((one) => one.status === 'ended'),
  }
}

function usersCard(all: readonly UserSessions[], search: string): Html {
  const found = all.filter(({ user }) =>
    `${user.id} ${user.name}`.toLowerCase().includes(search.toLowerCase()),
  )
  return html`<section class="card" aria-labelledby="users">
        <h2 id="users">Users</h2>
        <form class="search" role="search" action="admin">
          <label class="visually-hidden" for="q">Search users</label>
          <input id="q" name="q" type="search" value="${search}" placeholder="Name">
          <button>Search</button>
        </form>
        <div id="live">
        ${
          found.length === 0
            ? html`<div class="empty"><p>Nobody is called “${search}”.</p><a class="button" href="admin">Show everybody</a></div>`
            : html`<div class="table-scroll" tabindex="0" role="region" aria-label="Table of users"><table class="table">
          <thead><tr><th scope="col">Name</th><th scope="col" class="num">Sessions</th><th scope="col" class="num">Tokens</th><th scope="col">Last seen</th></tr></thead>
          <tbody>
            ${found.map(userRow)}
          </tbody>
        </table></div>`
        }
        </div>
      </section>`
}

function userRow({ user, active }: UserSessions): Html {
  const tokens = active.filter(({ kind }) => kind === 'token').length
  const seen = active.map(({ lastSeenAt }) => lastSeenAt).sort((a, b) => b.getTime() - a.getTime())[0]
  return html`<tr>
              <th scope="row"><a href="admin/users/${user.id}">${user.name}</a></th>
              <td class="num">${active.length - tokens}</td><td class="num">${tokens}</td>
              <td>${seen ? sinceThen(seen) : html`<span class="soft">–</span>`}</td>
            </tr>`
}

function logCard({ users }: Demo, all: readonly UserSessions[]): Html {
  const endings = all
    .flatMap(({ user, ended }) => ended.map((session) => ({ user, session, ending: session.ending })))
    .sort((a, b) => b.ending.at.getTime() - a.ending.at.getTime())
    .slice(0, LOGGED)
  return html`<section class="card" aria-labelledby="log">
        <h2 id="log">Endings</h2>
        ${
          endings.length === 0
            ? html`<div class="empty"><p>No session has been ended yet. End one, and it is logged here with reason and actor.</p></div>`
            : html`<div class="table-scroll" tabindex="0" role="region" aria-label="Table of endings"><table class="table">
          <thead><tr><th scope="col">When</th><th scope="col">User</th><th scope="col">Device</th><th scope="col">Why</th><th scope="col">By</th></tr></thead>
          <tbody>
            ${endings.map(
              ({ user, session, ending }) => html`<tr>
              <td>${sinceThen(ending.at)}</td><td>${user.name}</td><td>${deviceName(session.device)}</td>
              <td>${reasonText(ending.reason)}</td><td>${actorName(ending.actor, users)}</td>
            </tr>`,
            )}
          </tbody>
        </table></div>`
        }
      </section>`
}

function userBody(request: Request, { user, active }: UserSessions): Html {
  const path = `admin/users/${user.id}`
  const ended = Number(request.query['ended'])
  return html`<p class="trail"><a href="admin">Admin</a></p>
      ${roomHeading(user.name, html`Signs in as <code>${user.id}</code>. ${user.about}`)}
      ${Number.isInteger(ended) && html`<p class="card done" role="status">${ended === 1 ? 'Ended one session.' : `Ended ${ended} sessions.`} No request that is still running can bring one back.</p>`}
      <div class="side-by-side">
        <section class="card" id="live" aria-labelledby="sessions">
          <h2 id="sessions">Sessions and tokens <span class="badge">${active.length}</span></h2>
          ${
            active.length === 0
              ? html`<div class="empty"><p>${user.name} is signed in nowhere.</p></div>`
              : html`<ul class="devices">
            ${pageOf(request, active).map((session) => deviceRow(session, `${path}/sessions/${session.handle}/end`))}
          </ul>`
          }
          ${pages(request, active.length, path)}
        </section>
        <section class="card" aria-labelledby="end-all">
          <h2 id="end-all">End all of them</h2>
          <form class="form" method="post" action="${path}/end-all">
            <label for="reason">Reason</label>
            <select id="reason" name="reason">
              ${ADMIN_REASONS.map((reason) => html`<option value="${reason}">${reasonText(reason)}</option>`)}
            </select>
            <button class="danger">End all sessions and tokens</button>
          </form>
          <p class="soft small">Every device is told this reason, and your name.</p>
          <form method="post" action="${path}/fill"><button>Add ${MANY} devices</button></form>
        </section>
      </div>`
}

function reasonIn(request: Request): string {
  const body: unknown = request.body
  const asked: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'reason') : undefined
  return ADMIN_REASONS.find((reason) => reason === asked) ?? 'ended-by-admin'
}

function actorOf(request: Request) {
  return { type: 'admin', id: request.session.userId }
}
