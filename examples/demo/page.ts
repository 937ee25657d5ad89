import type { Request } from 'express'
import { headerDrawing, mark } from './drawings.ts'
import { type Html, type HtmlPart, html } from './html.ts'
import { ROOMS } from './rooms.ts'
import { rootOf, SLOTS, slotOf } from './slots.ts'

export interface PageParts {
  readonly title: string
  /** The path of the room, such as `race-lab`: marks it in the navigation. */
  readonly current?: string
  readonly body: HtmlPart
  /** Modules and style sheets below `public/`, such as `race-lab.js` and `race-lab.css`. */
  readonly scripts?: readonly string[]
  readonly styles?: readonly string[]
}

/**
 * Returns a whole page. Links, forms, `fetch` and `EventSource` in it use relative addresses (`race-lab/start`), which a
 * `<base>` resolves for whichever device the request came from; redirects use `rootOf(request)` for that.
 */
export function page(
  request: Request,
  { title, current, body, scripts = [], styles = [] }: PageParts,
): string {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <base href="${rootOf(request)}">
    <title>${title} · express-session-valkey</title>
    <link rel="icon" href="/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/demo.css">
    ${styles.map((file) => html`<link rel="stylesheet" href="/${file}">`)}
    <script type="module" src="/live.js"></script>
    ${scripts.map((file) => html`<script type="module" src="/${file}"></script>`)}
  </head>
  <body${request.res?.locals['user'] && html` data-user`}>
    <a class="skip" href="${request.originalUrl}#main">Skip to the content</a>
    ${header(request)}
    ${navigation(current)}
    <main id="main" tabindex="-1">
      ${body}
    </main>
    ${footer(request)}
  </body>
</html>
`.toString()
}

function header(request: Request): Html {
  const user = request.res?.locals['user']
  const isUnknown = request.res?.locals['isUnknown']
  const device = SLOTS[slotOf(request)]
  return html`<header class="top">
      ${headerDrawing()}
      <a class="brand" href="${rootOf(request)}">${mark()} <span>express-session-valkey</span></a>
      <div class="who">
        ${device?.standsFor && html`<span class="badge">As ${device.standsFor}</span>`}
        ${
          !isUnknown &&
          (user
            ? html`<span class="who-name">${user.name}</span>
        <form method="post" action="sign-out"><button class="quiet-button">Sign out</button></form>`
            : html`<a class="button" href="sign-in">Sign in</a>`)
        }
      </div>
    </header>`
}

function navigation(current: string | undefined): Html {
  const groups = [...new Set(ROOMS.map(({ group }) => group))]
  return html`<nav class="rooms" aria-label="Rooms">
      ${groups.map(
        (group) => html`<div class="rooms-group">
        <h2>${group}</h2>
        <ul>
          ${ROOMS.filter((room) => room.group === group).map(
            ({ path, title }) =>
              html`<li><a href="${path === '' ? './' : path}"${path === current && html` aria-current="page"`}>${title}</a></li>`,
          )}
        </ul>
      </div>`,
      )}
    </nav>`
}

function footer(request: Request): Html {
  return html`<footer class="bottom">
      <p>Sessions are kept <strong>${request.app.locals['place']}</strong>.</p>
    </footer>`
}

/** The heading of a room: what it is called, and in one or two sentences what it shows. */
export function roomHeading(title: string, lead: HtmlPart): Html {
  return html`<div class="room-heading">
      <h1>${title}</h1>
      <p class="lead">${lead}</p>
    </div>`
}

/** Says one thing: for errors, for addresses that lead nowhere, and for rooms that need something first. */
export function notice(title: string, text: HtmlPart, actions?: HtmlPart): Html {
  return html`<section class="card notice">
      <h1>${title}</h1>
      <p>${text}</p>
      <div class="actions">${actions ?? html`<a class="button" href="./">Go to the start page</a>`}</div>
    </section>`
}
