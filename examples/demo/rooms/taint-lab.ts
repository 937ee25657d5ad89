import type { Router } from 'express'
import type { Demo } from '../demo.ts'
import { type Html, html } from '../html.ts'
import { openLabStores, PATIENCE_MS } from '../labs/stores.ts'
import { runTaint, TAINT_PATH, type TaintRequest, type TaintStep } from '../labs/taint.ts'
import { labRoom, readNext } from './lab-room.ts'
import { pathLines } from './path-lines.ts'

const PACE_MS = 700
const LABELLED = 'pii'
const WIDTH = 96

const WORDS: Readonly<Record<string, readonly [open: string, refused: string]>> = {
  '/customers/7': ['Reads a customer. The session is labelled before the first byte leaves.', ''],
  '/handbook': ['Reads a page that no label speaks of.', ''],
  '/export': [
    'Exports: the session has read nothing yet.',
    'Exports: refused, the session has read a customer.',
  ],
  '/mail': ['Sends mail: the session has read nothing yet.', 'Sends mail: refused for the same reason.'],
}

export function taintLab({ valkeyUrl }: Demo): Router {
  return labRoom<readonly TaintStep[]>({
    path: 'taint-lab',
    title: 'Taint lab',
    claim:
      'Elsewhere a session that has just read a customer’s file can export it: no store remembers what a session has seen.',
    buttons: [{ label: 'Walk the path', choice: 'walk' }],
    async run(_choice, report) {
      const stores = await openLabStores(valkeyUrl, PATIENCE_MS)
      try {
        return await runTaint({ ...stores, paceMs: PACE_MS }, report)
      } finally {
        await stores.close()
      }
    },
    picture: (steps = []) => picture(steps),
    outcome: (steps) => {
      const refused = steps.filter(({ status }) => status === 403).map(({ path }) => path)
      return `Labelled ${steps.at(-1)?.labels.join(', ')}; refused: ${refused.join(', ')}.`
    },
    notes: html`<p>One session sends five requests to a gateway. Labels only grow, whichever request adds them: on another tab, in
      another process, after a restart.</p>
      ${readNext('guide/taint-labels.md', 'Taint labels')}`,
  })
}

function picture(steps: readonly TaintStep[]): Html {
  const rows = TAINT_PATH.map((request, at) => row(request, steps[at], steps[at - 1]))
  return html`<section class="card"><h2>One session, from top to bottom</h2><ol class="path">${rows}</ol></section>`
}

function row(request: TaintRequest, step: TaintStep | undefined, before: TaintStep | undefined): Html {
  const { method, path } = request
  const isRefused = step?.status === 403
  const [open = '', refused = ''] = WORDS[path] ?? []
  return html`<li${step === undefined && html` class="pending"`}>
        ${drawing(request, step, isLabelled(before))}
        <div class="path-text">
          <p><code>${method} ${path}</code> ${step && badge(step.status)}${step && isLabelled(step) && !isLabelled(before) && html` <span class="badge lab-label">label: ${LABELLED}</span>`}</p>
          <p class="soft small">${step && (isRefused ? refused : open)}</p>
        </div>
      </li>`
}

function badge(status: number): Html {
  return status < 400
    ? html`<span class="badge">${status}</span>`
    : html`<span class="badge bad">${status} refused</span>`
}

function isLabelled(step: TaintStep | undefined): boolean {
  return step !== undefined && step.labels.length > 0
}

/** The session's line, and the request's branch to what it wants: through a gate, or stopped by it. */
function drawing({ kind }: TaintRequest, step: TaintStep | undefined, wasLabelled: boolean): Html {
  const isRefused = step?.status === 403
  const branch = lineOf(isLabelled(step))
  return html`${pathLines(WIDTH, [
    { x: 16, half: 'upper', kind: lineOf(wasLabelled) },
    { x: 16, half: 'lower', kind: branch },
  ])}<svg class="path-drawing" width="${WIDTH}" height="72" viewBox="0 0 ${WIDTH} 72" aria-hidden="true">
          ${step && html`<path class="${branch}" d="M16 36H${isRefused ? 44 : 80}"/>`}
          ${kind === 'gate' && gate(step && (isRefused ? 'closed' : 'open'))}
          <circle class="${kind === 'source' ? 'spot-source' : 'spot'}" cx="84" cy="36" r="7"/>
          <circle class="${isLabelled(step) ? 'spot-labelled' : 'spot-session'}" cx="16" cy="36" r="5"/>
        </svg>`
}

function lineOf(isLabelled: boolean): string {
  return isLabelled ? 'line-labelled' : 'line'
}

/** Two posts, and a bar between them when it is closed. */
function gate(state: 'open' | 'closed' = 'open'): Html {
  return html`<path class="gate-post" d="M52 10V24M52 48V62"/>${state === 'closed' && html`<path class="gate-closed" d="M52 24V48"/>`}`
}
