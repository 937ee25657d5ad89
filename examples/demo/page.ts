import type { ActiveSession } from 'express-session-valkey'
import { devicesCard } from './devices.ts'
import { type Html, type HtmlPart, html } from './html.ts'

export const MAX_NAME_LENGTH = 40

/** What the page of a signed-in user shows. */
export interface HomeFacts {
  readonly name: string
  readonly count: number
  readonly signedInAt: Date
  /** The session's name in the store. */
  readonly handle: string
  /** Where sessions are kept, in words. */
  readonly place: string
  readonly slowSeconds: number
  /** All sessions of the user, this one among them. */
  readonly sessions: readonly ActiveSession[]
}

export function signInPage(
  place: string,
  refusal?: { readonly name: string; readonly problem: string },
): Html {
  const problem = refusal && html`<p class="problem" id="problem" role="alert">${refusal.problem}</p>`
  const attributes = refusal && html` aria-invalid="true" aria-describedby="problem"`
  return document(
    'Sign in',
    html`<section class="card">
      <h1>Sign in</h1>
      <p>Any name will do. There is no password; the name, a number and the time are all that is kept.</p>
      ${problem}
      <form method="post" action="/sign-in">
        <label for="name">Name</label>
        <input id="name" name="name" value="${refusal?.name}" maxlength="${MAX_NAME_LENGTH}" required autofocus autocomplete="nickname"${attributes}>
        <button class="primary">Sign in</button>
      </form>
    </section>
    ${placeNote(place)}`,
  )
}

export function homePage(facts: HomeFacts): Html {
  return document(`${facts.name}: ${facts.count}`, [
    counter(facts),
    session(facts),
    devicesCard(facts.sessions),
    experiments(facts),
    placeNote(facts.place),
  ])
}

/** A page that says one thing; for errors and for addresses that lead nowhere. */
export function noticePage(title: string, text: string): Html {
  return document(
    title,
    html`<section class="card">
      <h1>${title}</h1>
      <p>${text}</p>
      <p><a href="/">Go to the start page</a></p>
    </section>`,
  )
}

function counter({ name, count }: HomeFacts): Html {
  return html`<section class="card">
      <h1>Hello, ${name}</h1>
      <p class="count"><output>${count}</output> <span>counted so far</span></p>
      <div class="actions">
        <form method="post" action="/count"><button class="primary">Count one more</button></form>
        <form method="post" action="/sign-out"><button>Sign out</button></form>
      </div>
    </section>`
}

function session({ handle, signedInAt }: HomeFacts): Html {
  const iso = signedInAt.toISOString()
  return html`<section class="card">
      <h2>This session</h2>
      <dl>
        <dt>Signed in</dt>
        <dd><time datetime="${iso}">${iso.replace('T', ' ').slice(0, 19)} UTC</time></dd>
        <dt>Its name in the store</dt>
        <dd><code>${handle}</code></dd>
      </dl>
      <p class="quiet">A hash of the session id. The id itself is in your cookie, and never in the store.</p>
    </section>`
}

function experiments({ slowSeconds }: HomeFacts): Html {
  return html`<section class="card">
      <h2>Try to bring it back</h2>
      <p>This button opens a request that takes ${slowSeconds} seconds and then saves the session. Press it, come back to this
        tab, and sign out before it ends: the late save is refused, and you stay signed out.</p>
      <form method="post" action="/count-slowly" target="_blank"><button>Count slowly, in a new tab</button></form>
    </section>`
}

function placeNote(place: string): Html {
  return html`<p class="quiet">Sessions are kept ${place}.</p>`
}

function document(title: string, content: HtmlPart): Html {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title} · express-session-valkey demo</title>
    <link rel="icon" href="/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/style.css">
  </head>
  <body>
    <header><a href="/">express-session-valkey</a> <span>demo</span></header>
    <main>
    ${content}
    </main>
  </body>
</html>
`
}
