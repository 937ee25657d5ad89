import type { Request } from 'express'
import type { ActiveSession, SessionDevice } from 'express-session-valkey'
import { type Html, html } from './html.ts'

const BROWSERS = ['Edg', 'OPR', 'Firefox', 'Chrome', 'Safari'] as const
const SYSTEMS = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'CrOS', 'Linux'] as const
const NAMES: Readonly<Record<string, string>> = {
  Edg: 'Edge',
  OPR: 'Opera',
  'Mac OS': 'macOS',
  CrOS: 'ChromeOS',
}

/** What the demo keeps of a device: browser and system as far as the user agent names them. */
export function describeDevice(req: Request): SessionDevice {
  const agent = req.get('user-agent') ?? ''
  return {
    browser: firstIn(agent, BROWSERS, 'A browser'),
    system: firstIn(agent, SYSTEMS, 'an unknown system'),
  }
}

function firstIn(agent: string, words: readonly string[], otherwise: string): string {
  const word = words.find((one) => agent.includes(one))
  return word === undefined ? otherwise : (NAMES[word] ?? word)
}

/** The card that lists where somebody is signed in, and ends it there. */
export function devicesCard(sessions: readonly ActiveSession[]): Html {
  const others = sessions.filter(({ isCurrent }) => !isCurrent)
  return html`<section class="card">
      <h2>Where you are signed in</h2>
      <ul class="devices">
        ${sessions.map(deviceItem)}
      </ul>
      ${
        others.length > 0 &&
        html`<form method="post" action="/sign-out-elsewhere"><button>Sign out everywhere else</button></form>`
      }
      <p class="quiet">Sign in with the same name in another browser or a private window, and it appears here.</p>
    </section>`
}

function deviceItem({ handle, device, lastSeenAt, isCurrent }: ActiveSession): Html {
  const label = `${device?.['browser'] ?? 'A browser'} on ${device?.['system'] ?? 'an unknown system'}`
  const iso = lastSeenAt.toISOString()
  return html`<li>
          <span><strong>${label}</strong>${isCurrent && html` <em>this device</em>`}
            <span class="quiet">seen <time datetime="${iso}">${iso.replace('T', ' ').slice(0, 19)} UTC</time></span></span>
          ${
            !isCurrent &&
            html`<form method="post" action="/devices/${handle}/end"><button aria-label="End ${label}">End</button></form>`
          }
        </li>
        `
}
