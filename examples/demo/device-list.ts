import type { Request } from 'express'
import type { RegisteredSession } from 'express-session-valkey'
import { deviceName } from './devices.ts'
import { deviceDrawing } from './drawings.ts'
import { sinceThen } from './endings.ts'
import { type Html, type HtmlPart, html } from './html.ts'
import { SLOTS } from './slots.ts'
import type { DemoUser } from './users.ts'

const PAGE = 25

/** One device in a list; with a form to end it unless it is the one that is looked at. */
export function deviceRow(session: RegisteredSession, endAction?: string, about?: HtmlPart): Html {
  const { device, handle, isCurrent, kind } = session
  const name = deviceName(device)
  return html`<li class="device">
              ${deviceDrawing(String(device?.['system']))}
              <span class="device-name">${name}
                ${isCurrent && html`<span class="badge good">This device</span>`}
                ${kind === 'token' && html`<span class="badge">Token</span>`}</span>
              <span class="soft small">${about ?? html`${lastSeen(session)}; signed in ${sinceThen(session.createdAt)}; <code>${handle.slice(0, 8)}…</code>`}</span>
              ${
                endAction !== undefined &&
                !isCurrent &&
                html`<form method="post" action="${endAction}"><button aria-label="End ${name}, ${handle.slice(0, 8)}">End</button></form>`
              }
            </li>`
}

function lastSeen(session: RegisteredSession): Html {
  return session.status === 'active' ? html`Seen ${sinceThen(session.lastSeenAt)}` : html`Ended`
}

/** The part of a list that the request's `page` asks for. */
export function pageOf<Item>(request: Request, items: readonly Item[]): readonly Item[] {
  const from = (pageNumber(request, items.length) - 1) * PAGE
  return items.slice(from, from + PAGE)
}

/** Links to the parts of a list, where it has more than one. */
export function pages(request: Request, count: number, path: string): Html | false {
  const last = Math.ceil(count / PAGE)
  const current = pageNumber(request, count)
  if (last <= 1) return false
  return html`<nav class="pages" aria-label="Pages">
            ${Array.from({ length: last }, (_, index) => index + 1).map(
              (number) =>
                html`<a href="${path}?page=${number}" aria-label="Page ${number}"${number === current && html` aria-current="page"`}>${number}</a>`,
            )}
          </nav>`
}

function pageNumber(request: Request, count: number): number {
  const asked = Number(request.query['page'] ?? 1)
  return Number.isInteger(asked) ? Math.min(Math.max(asked, 1), Math.max(1, Math.ceil(count / PAGE))) : 1
}

/** Signs the user in on another device, in a new tab. The password is verified there as anywhere. */
export function anotherDevice(slot: number, { id, password }: DemoUser, then: string): Html {
  return html`<form method="post" action="/${slot}/sign-in" target="_blank">
            <input type="hidden" name="username" value="${id}">
            <input type="hidden" name="password" value="${password}">
            <input type="hidden" name="then" value="${then}">
            <button>Open as ${SLOTS[slot]?.standsFor ?? 'this browser'}</button>
          </form>`
}
