import type { Router } from 'express'
import type { Demo } from '../demo.ts'
import { type Html, html } from '../html.ts'
import { type RaceScore, runRace } from '../labs/race.ts'
import { openLabStores, PATIENCE_MS } from '../labs/stores.ts'
import { labRoom, readNext } from './lab-room.ts'

const TERMS = { signOuts: 50, updates: 64, paceMs: 150 }
const OURS = 'express-session-valkey'
const BAR_WIDTH = 640
const BAR_HEIGHT = 24

export function raceLab({ valkeyUrl }: Demo): Router {
  const theirs = valkeyUrl === undefined ? 'MemoryStore of express-session' : 'connect-redis'
  const nobody = [OURS, theirs].map((name) => ({ name, signedOut: 0, cameBack: 0, acknowledged: 0, kept: 0 }))
  return labRoom<readonly RaceScore[]>({
    path: 'race-lab',
    title: 'Race lab',
    claim:
      'With most stores, a request that still runs when you sign out signs you back in, and of two changes at once one is lost.',
    buttons: [{ label: 'Start the race', choice: 'race' }],
    async run(_choice, report) {
      const stores = await openLabStores(valkeyUrl, PATIENCE_MS)
      const { store, plain } = stores
      try {
        return await runRace(
          [
            { name: OURS, store },
            { name: theirs, store: plain },
          ],
          TERMS,
          report,
        )
      } finally {
        await stores.close()
      }
    },
    picture: (scores = nobody) => picture(scores),
    outcome: (scores) =>
      `Came back: ${scores.map(({ cameBack }) => cameBack).join(' against ')}. Kept: ${scores.map(({ kept }) => kept).join(' against ')}.`,
    notes: html`<p>Both stores run the same Express app. ${TERMS.signOuts} users sign in; each sends a slow request, signs out while it
      runs, and comes back with the old cookie when it has saved. Then ${TERMS.updates} requests load one session together, and each sets
      another key of it.</p>
      ${readNext('guide/concurrency.md', 'Concurrent requests')}`,
  })
}

function picture(scores: readonly RaceScore[]): Html {
  return html`<div class="columns">
      <section class="card">
        <h2>Came back after signing out</h2>
        ${scores.map(({ name, signedOut, cameBack }) =>
          row({ name, number: cameBack, of: TERMS.signOuts, bad: cameBack, done: signedOut }),
        )}
        <p class="soft small">A tick for each user: <span class="key-good">signed out</span>, or <span class="key-bad">signed in again</span>.</p>
      </section>
      <section class="card">
        <h2>Updates kept</h2>
        ${scores.map(({ name, acknowledged, kept }) => {
          const done = Math.max(acknowledged, kept)
          return row({ name, number: kept, of: TERMS.updates, bad: done - kept, done })
        })}
        <p class="soft small">A tick for each update: <span class="key-good">in the session</span>, or <span class="key-bad">replied to with success, and lost</span>.</p>
      </section>
    </div>`
}

interface Row {
  readonly name: string
  readonly number: number
  readonly of: number
  /** How many have been tried so far. */
  readonly done: number
  /** How many of them have gone wrong. */
  readonly bad: number
}

function row({ name, number, ...counts }: Row): Html {
  return html`<div class="race-row">
          <p class="${name === OURS && 'race-ours'}">${name}</p>
          <p class="soft"><strong class="number">${number}</strong> of ${counts.of}</p>
          ${ticks(counts)}
        </div>`
}

function ticks({ of, done, bad }: Pick<Row, 'of' | 'done' | 'bad'>): Html {
  const step = BAR_WIDTH / of
  const tick = (at: number) => {
    const kind = at >= done ? 'open' : at < done - bad ? 'good' : 'bad'
    return html`<rect class="tick-${kind}" x="${at * step + 1}" width="${step - 2}" height="${BAR_HEIGHT}" rx="1.5"/>`
  }
  return html`<svg class="race-ticks" viewBox="0 0 ${BAR_WIDTH} ${BAR_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">${Array.from({ length: of }, (_, at) => tick(at))}</svg>`
}
