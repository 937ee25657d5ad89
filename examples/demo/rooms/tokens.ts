import type { Router } from 'express'
import type { Demo } from '../demo.ts'
import { type Html, html } from '../html.ts'
import { openLabStores, PATIENCE_MS } from '../labs/stores.ts'
import { type Holder, runTokens, type TokenEvent } from '../labs/tokens.ts'
import { labRoom, readNext } from './lab-room.ts'
import { type PathLine, pathLines } from './path-lines.ts'

const PACE_MS = 700
const GRACE_S = 2
const LANES: readonly Holder[] = ['tab 1', 'tab 2', 'thief']
const LANE_WIDTH = 44
const WIDTH = LANES.length * LANE_WIDTH
const ROW_HEIGHT = 64

export function tokens({ valkeyUrl }: Demo): Router {
  return labRoom<readonly TokenEvent[]>({
    path: 'tokens',
    title: 'Tokens',
    claim:
      'Elsewhere two tabs that refresh at once sign the user out, or a stolen refresh token works for weeks: one is bought with the other.',
    buttons: [{ label: 'Refresh, steal, refresh', choice: 'tokens' }],
    async run(_choice, report) {
      const stores = await openLabStores(valkeyUrl, PATIENCE_MS)
      try {
        return await runTokens({ ...stores, graceS: GRACE_S, paceMs: PACE_MS }, report)
      } finally {
        await stores.close()
      }
    },
    picture: (events = []) => picture(events),
    outcome: (events) => {
      const shared = events.filter(({ holder, presented }) => presented === 0 && holder !== 'thief')
      const successors = new Set(shared.map(({ received }) => received)).size
      return `${shared.length} tabs at once: ${successors === 1 ? 'the same successor' : `${successors} successors`}. The late copy ended the family: ${events.at(-1)?.outcome}.`
    },
    notes: html`<p>A spent token gets the same successor again for ${GRACE_S} seconds here (30 by default), so a lost reply or a second
      tab signs nobody out. After that it has been copied: the token session ends, for the thief and for the user, who signs in again.</p>
      ${readNext('guide/tokens.md', 'Tokens')}`,
  })
}

function picture(events: readonly TokenEvent[]): Html {
  return html`<section class="card">
      <h2>One sign-in, from top to bottom</h2>
      <p class="lanes" aria-hidden="true">${LANES.map((lane) => html`<span>${nameOf(lane)}</span>`)}</p>
      ${events.length === 0 ? html`<p class="empty">Nothing has happened yet.</p>` : html`<ol class="path">${events.map((event, at) => row(event, events.slice(0, at)))}</ol>`}
    </section>`
}

function row(event: TokenEvent, before: readonly TokenEvent[]): Html {
  return html`<li>
        ${drawing(event, before)}
        <div class="path-text">
          <p><strong>${nameOf(event.holder)}</strong> ${wordsFor(event)}</p>
          <p class="soft small">${(event.atMs / 1000).toFixed(1)} s ${event.action === 'refresh' && badge(event)}</p>
        </div>
      </li>`
}

function badge({ status = 0, outcome }: TokenEvent): Html {
  return status < 400
    ? html`<span class="badge good">${status}</span>`
    : html`<span class="badge bad">${status} ${outcome}</span>`
}

function wordsFor({ action, presented, received, outcome }: TokenEvent): string {
  if (action === 'sign-in') return `signs in and gets token ${received}.`
  if (action === 'copy') return `copies token ${presented}.`
  if (action === 'look') return `is signed out: ${outcome}.`
  if (received === undefined) return `presents token ${presented}.`
  return `presents token ${presented} and gets token ${received}.`
}

function nameOf(holder: Holder): string {
  return holder.charAt(0).toUpperCase() + holder.slice(1)
}

/** A line for each holder of a token, from when it has one, and a spot where it acts. */
function drawing(event: TokenEvent, before: readonly TokenEvent[]): Html {
  const wasDead = before.some(isDeath)
  const isDead = wasDead || isDeath(event)
  const lines = LANES.flatMap((lane): readonly PathLine[] => {
    const x = placeOf(lane)
    const upper: PathLine = { x, half: 'upper', kind: wasDead ? 'line-dead' : 'line' }
    const lower: PathLine = { x, half: 'lower', kind: isDead ? 'line-dead' : 'line' }
    if (before.some(({ holder }) => holder === lane)) return [upper, lower]
    return event.holder === lane ? [lower] : []
  })
  const isWell = (event.status ?? 200) < 400 && event.action !== 'look'
  const place = html`x="${placeOf(event.holder)}" y="${ROW_HEIGHT / 2}"`
  const spot = html`<circle class="${isWell ? 'token' : 'token-dead'}" cx="${placeOf(event.holder)}" cy="${ROW_HEIGHT / 2}" r="13"/>`
  return html`${pathLines(WIDTH, lines)}<svg class="path-drawing" width="${WIDTH}" height="${ROW_HEIGHT}" viewBox="0 0 ${WIDTH} ${ROW_HEIGHT}" aria-hidden="true">${spot}<text class="token-number" ${place}>${event.received ?? event.presented ?? '×'}</text></svg>`
}

function placeOf(holder: Holder): number {
  return (LANES.indexOf(holder) + 0.5) * LANE_WIDTH
}

function isDeath({ holder, status = 200 }: TokenEvent): boolean {
  return holder === 'thief' && status >= 400
}
