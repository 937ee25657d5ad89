import type { Router } from 'express'
import { Redis } from 'iovalkey'
import type { Demo } from '../demo.ts'
import { type Html, html } from '../html.ts'
import type { Part } from '../labs/record-parts.ts'
import { runStored, type StoredBytes, type StoredRun } from '../labs/stored.ts'
import { LAB_PREFIX, openLabStores, PATIENCE_MS, PLAIN_PREFIX } from '../labs/stores.ts'
import { labRoom, readNext } from './lab-room.ts'

/** What belongs together, and is drawn in one colour. */
const GROUPS: readonly (readonly [group: string, words: string, parts: readonly string[]])[] = [
  ['outside', 'for the scripts on the server, not trusted', ['format', 'expiry', 'hard end', 'owner']],
  ['envelope', 'the envelope', ['magic', 'version', 'mode', 'key id']],
  ['secret', 'the session, encrypted', ['nonce', 'ciphertext', 'payload']],
  ['proof', 'what refuses a change', ['tag', 'MAC']],
]

export function storedBytes({ valkeyUrl }: Demo): Router {
  return labRoom<StoredRun>({
    path: 'stored-bytes',
    title: 'What Valkey sees',
    claim:
      'With most stores, whoever gets at the server reads every session, signs in with its key, and becomes admin.',
    buttons: [{ label: 'Store a session, then change a bit', choice: 'store' }],
    async run() {
      if (valkeyUrl === undefined) throw new Error('There is no Valkey to look into')
      const stores = await openLabStores(valkeyUrl, PATIENCE_MS)
      const reader = new Redis(valkeyUrl.replace(/^valkey/, 'redis'), { maxRetriesPerRequest: 1 })
      reader.on('error', () => {})
      try {
        return await runStored({ ...stores, reader, prefix: LAB_PREFIX, plainPrefix: PLAIN_PREFIX })
      } finally {
        reader.disconnect()
        await stores.close()
      }
    },
    picture: (run) => (run === undefined ? legend([]) : picture(run)),
    outcome: ({ sealed, plain }) =>
      `One bit changed: ${sealed.user.changed ?? 'refused'}. JSON edited: signed in as ${plain.user.changed}.`,
    missing: valkeyUrl === undefined ? MISSING : undefined,
    notes: html`${valkeyUrl !== undefined && html`<p>The same app stores the same session in both: the user <code>ann</code> and a note.</p>`}
      ${readNext('FORMAT.md', 'The sealed format, to the byte')}`,
  })
}

const MISSING = html`<div class="empty">
        <p>In process, sealed sessions are in the memory of this process, where nothing can look at them. To see them in a Valkey:</p>
        <p><code>npm run demo -- --valkey</code></p>
      </div>`

function picture({ sealed, plain }: StoredRun): Html {
  const flipped: Verdict = [`One bit of byte ${sealed.flippedAt} changed`, sealed.user.changed]
  const edited: Verdict = ['“ann” changed to “admin”', plain.user.changed]
  const length = sealed.parts.reduce((sum, { bytes }) => sum + bytes.length, 0)
  return html`<div class="columns">
      <section class="card">
        <h2>express-session-valkey</h2>
        ${verdicts([['As it was stored', sealed.user.asStored], flipped, ['The bit put back', sealed.user.putBack]], flipped)}
        <dl class="stored">
          <dt>Key: a hash of the session id</dt>
          <dd><code>${sealed.key}</code></dd>
          <dt>Value: ${length} bytes</dt>
          <dd>${dump(sealed)}</dd>
          <dt>Other keys of the session and its user</dt>
          <dd>${sealed.otherKeys.map((key) => html`<code>${key}</code><br>`)}</dd>
        </dl>
      </section>
      <div class="stack">
        <section class="card">
          <h2>connect-redis</h2>
          ${verdicts([['As it was stored', plain.user.asStored], edited], edited)}
          <dl class="stored">
            <dt>Key: ${plain.hasSessionId && html`the session id, as it is in the cookie`}</dt>
            <dd><code>${plain.key}</code></dd>
            <dt>Value: ${plain.text.length} bytes</dt>
            <dd><code>${plain.text}</code></dd>
          </dl>
        </section>
        ${legend(sealed.parts)}
      </div>
    </div>`
}

type Verdict = readonly [what: string, user: string | undefined]

/** Whom the app takes the visitor for; `changed` is the one who may not be let in any more. */
function verdicts(rows: readonly Verdict[], changed: Verdict): Html {
  const look = changed[1] === undefined ? 'badge good' : 'badge bad'
  return html`<table class="table verdicts">
        <thead><tr><th scope="col">Value in Valkey</th><th scope="col">The app sees</th></tr></thead>
        <tbody>${rows.map(
          (row) =>
            html`<tr><td>${row[0]}</td><td><span class="${row === changed ? look : 'badge'}">${row[1] ?? 'nobody'}</span></td></tr>`,
        )}</tbody>
      </table>`
}

/** Text where the format has text, else two digits a byte. */
function dump({ parts, flippedAt }: StoredBytes): Html {
  let at = 0
  const shown = parts.map((part) => {
    const from = at
    at += part.bytes.length
    const isText = groupOf(part) === 'outside' || part.name === 'magic'
    const cells = isText
      ? [part.bytes.toString()]
      : [...part.bytes].map((byte) => byte.toString(16).padStart(2, '0'))
    const flipped = flippedAt - from
    return html`<span class="part part-${groupOf(part)}" title="${part.name}">${cells.map((cell, index) =>
      index === flipped && !isText ? html`<mark>${cell}</mark> ` : html`${cell} `,
    )}</span>`
  })
  return html`<code class="dump">${shown}</code>`
}

function legend(parts: readonly Part[]): Html {
  return html`<section class="card">
      <h2>The parts of a sealed value</h2>
      <ul class="legend">${GROUPS.map(([group, words, names]) => {
        const listed =
          parts.length === 0
            ? names.filter((name) => name !== 'payload')
            : names.filter((name) => parts.some((part) => part.name === name))
        return html`<li><span class="swatch part-${group}" aria-hidden="true"></span><span><strong>${words}</strong><br>${listed.join(', ')}</span></li>`
      })}</ul>
    </section>`
}

function groupOf({ name }: Part): string {
  return GROUPS.find(([, , parts]) => parts.includes(name))?.[0] ?? 'outside'
}
