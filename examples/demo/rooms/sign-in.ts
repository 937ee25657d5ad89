import { type Request, type Response, Router } from 'express'
import type { SessionEnding } from 'express-session-valkey'
import { COOKIE, type Demo } from '../demo.ts'
import { endingSentence, sinceThen } from '../endings.ts'
import { type HtmlPart, html } from '../html.ts'
import { page, roomHeading } from '../page.ts'
import { ROOMS } from '../rooms.ts'
import { rootOf } from '../slots.ts'
import type { DemoUser } from '../users.ts'

interface Attempt {
  readonly username: string
  readonly problem: string
}

/** Signing in, with what a device is told that was signed out elsewhere, and signing out. */
export function signIn(demo: Demo): Router {
  const router = Router()

  router.get('/sign-in', async (request, response) => {
    const ending = request.session.userId === undefined ? await endingOf(demo, request) : undefined
    response.send(signInPage(demo, request, { ending }))
  })

  router.post('/sign-in', async (request, response) => {
    const username = field(request, 'username')
    const password = field(request, 'password')
    const found = await demo.users.authenticate({ grant: 'password', username, password, req: request })
    if (!found || !('user' in found)) {
      const attempt = { username, problem: 'This name and password do not belong together.' }
      response.status(401).send(signInPage(demo, request, { attempt }))
      return
    }
    // A new id for a new level of trust: whoever planted the old cookie does not share the signed-in session.
    await regenerate(request)
    request.session.userId = String(found.user.id)
    await demo.store.commit(request)
    demo.live.send(`user:${found.user.id}`, 'changed', {})
    response.redirect(303, rootOf(request) + destination(request))
  })

  router.post('/sign-out', async (request, response) => {
    const { userId } = request.session
    await demo.store.destroy(request.sessionID)
    if (userId !== undefined) demo.live.send(`user:${userId}`, 'changed', {})
    clearCookie(request, response)
    response.redirect(303, rootOf(request))
  })

  return router
}

function signInPage(
  { users }: Demo,
  request: Request,
  { ending, attempt }: { ending?: SessionEnding | undefined; attempt?: Attempt },
): string {
  const then = html`<input type="hidden" name="then" value="${destination(request)}">`
  const body = html`${roomHeading('Sign in', 'Four users wait in the demo’s database, their passwords hashed with argon2id. Take one.')}
      ${ending && endedNotice(users.get(ending.actor.id ?? ''), ending)}
      <div class="columns">
        <section class="card" aria-labelledby="seeded">
          <h2 id="seeded">As somebody in the database</h2>
          <ul class="people">
            ${users.all.map((user) => html`<li>${seededUser(user, then)}</li>`)}
          </ul>
        </section>
        <section class="card" aria-labelledby="typed">
          <h2 id="typed">With a name and a password</h2>
          ${attempt && html`<p class="problem" id="problem" role="alert">${attempt.problem}</p>`}
          <form class="form" method="post" action="sign-in">
            ${then}
            <label for="username">Name</label>
            <input id="username" name="username" value="${attempt?.username}" required autocomplete="username" autocapitalize="none"${invalid(attempt)}>
            <label for="password">Password</label>
            <input id="password" name="password" type="password" required autocomplete="current-password"${invalid(attempt)}>
            <button class="primary">Sign in</button>
          </form>
          <p class="soft">Ada’s is <code>analytical-engine</code>; her name here is <code>ada</code>.</p>
        </section>
      </div>`
  return page(request, { title: 'Sign in', current: 'sign-in', body })
}

function seededUser({ id, name, about, password }: DemoUser, then: HtmlPart) {
  return html`<form class="person" method="post" action="sign-in">
              ${then}
              <input type="hidden" name="username" value="${id}">
              <input type="hidden" name="password" value="${password}">
              <span class="person-name">${name}</span>
              <span class="soft">${about}</span>
              <button aria-label="Sign in as ${name}">Sign in</button>
            </form>`
}

function endedNotice(actor: DemoUser | undefined, ending: SessionEnding) {
  return html`<section class="card ended" role="alert">
        <h2>This device was signed out</h2>
        <p>${endingSentence(ending, actor?.name)} <span class="soft">${sinceThen(ending.at)}</span></p>
        <p class="soft">The store keeps why and by whom with the ending; the cookie of this device still names it.</p>
      </section>`
}

function invalid(attempt: Attempt | undefined): HtmlPart {
  return attempt && html` aria-invalid="true" aria-describedby="problem"`
}

/** How the session ended that this device's cookie still names. Who has the cookie may know. */
async function endingOf({ store }: Demo, request: Request): Promise<SessionEnding | undefined> {
  const sid = presentedId(request)
  return sid === undefined ? undefined : store.registry.ending({ sid })
}

function presentedId(request: Request): string | undefined {
  const cookies = (request.get('cookie') ?? '').split(/;\s*/).map((pair) => pair.split('=', 2))
  const value = cookies.find(([key]) => key === COOKIE)?.[1] ?? ''
  return /^s%3A([A-Za-z0-9_-]{32})\./.exec(value)?.[1]
}

function clearCookie(request: Request, response: Response): void {
  response.clearCookie(COOKIE, {
    httpOnly: true,
    sameSite: 'lax',
    path: rootOf(request),
  })
}

function destination(request: Request): string {
  const wanted = field(request, 'then') || String(request.query['then'] ?? '')
  return ROOMS.some(({ path }) => path !== '' && path === wanted) ? wanted : 'devices'
}

function field(request: Request, name: string): string {
  const body: unknown = request.body
  const value: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, name) : undefined
  return typeof value === 'string' ? value : ''
}

function regenerate(request: Request): Promise<void> {
  return new Promise((resolve, reject) =>
    request.session.regenerate((error: unknown) => (error ? reject(error) : resolve())),
  )
}
