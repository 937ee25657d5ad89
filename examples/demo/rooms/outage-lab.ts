import type { Router } from 'express'
import type { Demo } from '../demo.ts'
import { type Html, html } from '../html.ts'
import { breakable } from '../labs/breakable.ts'
import {
  OUTAGES,
  type Outage,
  type OutageRun,
  type OutageSample,
  type Phase,
  runOutage,
} from '../labs/outage.ts'
import { openLabStores } from '../labs/stores.ts'
import { labRoom, readNext } from './lab-room.ts'

const PHASE_MS = 2500
const EVERY_MS = 100
const WIDTH = 640
const HEIGHT = 72
const TALLEST_MS = 1000

const BUTTONS: Readonly<Record<Outage, string>> = {
  freeze: 'Freeze it',
  fill: 'Fill its memory',
  'read-only': 'Make it read-only',
  kill: 'Kill it',
}
const BROKEN: Readonly<Record<Outage, string>> = {
  freeze: 'frozen',
  fill: 'full',
  'read-only': 'read-only',
  kill: 'dead',
}
const PHASES: Readonly<Record<Phase, string>> = { before: 'Before', during: 'During', after: 'After' }

export function outageLab({ valkey }: Demo): Router {
  return labRoom<OutageRun>({
    path: 'outage-lab',
    title: 'Outage lab',
    claim: 'Elsewhere requests hang while the session server does, or go on as if nobody were signed in.',
    buttons: OUTAGES.map((choice) => ({ choice, label: BUTTONS[choice] })),
    async run(choice, report) {
      const outage = OUTAGES.find((one) => one === choice)
      if (valkey === undefined || outage === undefined) throw new Error('There is no server to break')
      const stores = await openLabStores(valkey.url)
      try {
        const terms = { outage, phaseMs: PHASE_MS, everyMs: EVERY_MS }
        return await runOutage({ ...terms, store: stores.store, server: breakable(valkey) }, report)
      } finally {
        await stores.close()
      }
    },
    picture: (run) => (valkey === undefined ? NOTHING : picture(run)),
    outcome: ({ samples, isSignedIn }) => {
      const [refused, strangers] = [
        samples.filter(isRefused).length,
        samples.filter((one) => one.isStranger).length,
      ]
      const afterwards = isSignedIn === true ? 'still signed in' : 'not signed in any more'
      return `${refused} of ${samples.length} requests got 503 within ${Math.round(slowest(samples))} ms, ${strangers} went on as a stranger. Afterwards: ${afterwards}.`
    },
    missing: valkey === undefined ? MISSING : undefined,
    notes: html`<p>A reading and a writing request ten times a second. The first ones to meet the outage wait for their deadline; then a
      breaker answers at once, and one request at a time finds out whether the server is back. It is the server that this demo
      keeps its own sessions on: open another page of it meanwhile.</p>
      ${readNext('OPERATIONS.md', 'Operations: when Valkey is away')}`,
  })
}

const NOTHING = html``

const MISSING = html`<div class="empty">
        <p>This lab breaks a Valkey, so it wants one that the demo has started itself:</p>
        <p><code>npm run demo -- --valkey</code></p>
      </div>`

function picture(run: OutageRun | undefined): Html {
  if (run === undefined)
    return html`<p class="empty">Requests go to the server ten times a second. Break it, and see what they get.</p>`
  const { samples } = run
  return html`<section class="card">
      <h2>Requests while the server is ${BROKEN[run.outage]}</h2>
      ${(['read', 'write'] as const).map((kind) => lane(kind, run))}
      <p class="soft small">One bar for each request, as high as its reply was slow, up to ${TALLEST_MS} ms:
        <span class="key-good">succeeded</span>, <span class="key-bad">503</span>. The outage is shaded.</p>
      ${samples.length > 0 && table(samples)}
    </section>`
}

function lane(kind: OutageSample['kind'], { samples, outageMs: [from, to] }: OutageRun): Html {
  const lastMs = Math.max(3 * PHASE_MS, ...samples.map(({ atMs }) => atMs + EVERY_MS))
  const x = (atMs: number) => ((atMs / lastMs) * WIDTH).toFixed(1)
  const lengthMs = from === undefined ? 0 : (to ?? lastMs) - from
  const bars = samples
    .filter((sample) => sample.kind === kind)
    .map(({ atMs, ms, status }) => {
      const height = Math.max(4, (Math.min(ms, TALLEST_MS) / TALLEST_MS) * HEIGHT)
      const place = html`x="${x(atMs)}" y="${(HEIGHT - height).toFixed(1)}" width="5" height="${height.toFixed(1)}"`
      return html`<rect class="tick-${status < 400 ? 'good' : 'bad'}" ${place}/>`
    })
  return html`<h3>${kind === 'read' ? 'Reading' : 'Writing'}</h3>
      <svg class="outage-lane" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
        <rect class="outage-time" x="${x(from ?? 0)}" y="0" width="${x(lengthMs)}" height="${HEIGHT}"/>
        ${bars}
        <path class="outage-floor" d="M0 ${HEIGHT}H${WIDTH}"/>
      </svg>`
}

function table(samples: readonly OutageSample[]): Html {
  return html`<div class="table-scroll" tabindex="0" role="region" aria-label="Requests by phase"><table class="table">
        <thead><tr><th scope="col">Outage</th><th scope="col" class="num">Succeeded</th><th scope="col" class="num">503</th><th scope="col" class="num">Slowest</th></tr></thead>
        <tbody>${(['before', 'during', 'after'] as const).map((phase) => {
          const those = samples.filter((sample) => sample.phase === phase)
          const succeeded = those.filter(({ status }) => status < 400).length
          return html`<tr><th scope="row">${PHASES[phase]}</th><td class="num">${succeeded}</td><td class="num">${those.filter(isRefused).length}</td><td class="num">${Math.round(slowest(those))} ms</td></tr>`
        })}</tbody>
      </table></div>`
}

function isRefused({ status }: OutageSample): boolean {
  return status === 503
}

function slowest(samples: readonly OutageSample[]): number {
  return Math.max(0, ...samples.map(({ ms }) => ms))
}
