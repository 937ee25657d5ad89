import { type Html, html } from './html.ts'

/** The seal: a ring that a keyhole closes. */
export function mark(): Html {
  return html`<svg class="mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
      <circle class="mark-disc" cx="16" cy="16" r="15"/>
      <circle class="mark-ring" cx="16" cy="16" r="10.5"/>
      <path class="mark-hole" d="M16 10.2a3.4 3.4 0 0 0-1.7 6.3L13 22h6l-1.3-5.5A3.4 3.4 0 0 0 16 10.2Z"/>
    </svg>`
}

const LANES = [
  { y: 16, last: 1180, dots: [60, 150, 230, 360, 480, 590, 720, 840, 930, 1050, 1140] },
  { y: 36, last: 700, dots: [30, 120, 270, 330, 440, 560, 640], refused: [790, 880, 1010] },
  { y: 56, last: 1180, dots: [90, 200, 300, 420, 520, 680, 760, 890, 980, 1100] },
] as const

/** Three devices' requests on their way; one device is signed out, and what comes after is refused. */
export function headerDrawing(): Html {
  return html`<svg class="top-drawing" viewBox="0 0 1200 72" preserveAspectRatio="xMaxYMid slice" aria-hidden="true">
      ${LANES.map(({ y, last, dots, ...lane }) => {
        const refused = 'refused' in lane ? lane.refused : []
        return html`
      <path class="lane" d="M0 ${y}H${last}"/>
      ${dots.map((x) => html`<circle class="sent" cx="${x}" cy="${y}" r="3.5"/>`)}
      ${
        refused.length > 0 &&
        html`<path class="lane-closed" d="M${last} ${y}H1200"/>
      <circle class="closing" cx="${last}" cy="${y}" r="9"/><path class="closing-bar" d="M${last} ${y - 15}v30"/>
      ${refused.map((x) => html`<path class="refused" d="M${x - 4} ${y - 4}l8 8m0-8l-8 8"/>`)}`
      }`
      })}
    </svg>`
}

const PICTOGRAMS: Readonly<Record<string, Html>> = {
  devices: html`<rect x="4" y="9" width="26" height="18" rx="2"/><path d="M2 31h30"/><rect x="34" y="15" width="11" height="19" rx="2"/><path class="hot" d="m36 21 7 7m0-7-7 7"/>`,
  'race-lab': html`<path d="M3 12h20M3 20h26M3 28h16M3 36h23"/><path class="hot" d="M36 6v36"/><path d="M42 12h4M42 28h4"/>`,
  'outage-lab': html`<path d="M3 25h9l4-10 6 19 5-13 2 4h5"/><path class="hot" d="M38 14v12M38 31v3"/><path d="M44 25h2"/>`,
  'taint-lab': html`<path d="M3 24h12M33 24h12"/><path d="M15 10v28M33 10v12M33 28v10"/><circle class="hot" cx="24" cy="24" r="4"/>`,
  'stored-bytes': html`<path d="M4 10h6M14 10h10M28 10h4M36 10h8M4 19h12M20 19h5M29 19h15M4 28h4M12 28h9M34 28h10M4 37h9M17 37h13M34 37h10"/><path class="hot" d="M25 28h5"/>`,
  tokens: html`<circle cx="10" cy="24" r="6"/><circle cx="38" cy="12" r="6"/><circle class="hot" cx="38" cy="36" r="6"/><path d="m16 21 16-7M16 27l16 7"/>`,
}

/** A small drawing for the tile of a room. */
export function pictogram(path: string): Html {
  return html`<svg class="pictogram" viewBox="0 0 48 48" width="48" height="48" aria-hidden="true">${PICTOGRAMS[path]}</svg>`
}

/** A large seal that two devices reach; a third is signed out. */
export function sealDrawing(): Html {
  return html`<svg class="seal" viewBox="0 0 300 240" aria-hidden="true">
        <path class="lane" d="M0 60H136M0 120H64M0 180H136"/>
        <path class="lane-closed" d="M64 120h56"/>
        <circle class="sent" cx="24" cy="60" r="5"/><circle class="sent" cx="88" cy="60" r="5"/>
        <circle class="sent" cx="30" cy="120" r="5"/>
        <path class="closing-bar" d="M64 102v36"/><path class="refused" d="m86 113 14 14m0-14-14 14"/>
        <circle class="sent" cx="16" cy="180" r="5"/><circle class="sent" cx="74" cy="180" r="5"/>
        <circle class="seal-disc" cx="208" cy="120" r="88"/>
        <circle class="seal-ring" cx="208" cy="120" r="68"/>
        <circle class="seal-ring dashed" cx="208" cy="120" r="78"/>
        <path class="seal-hole" d="M208 80a22 22 0 0 0-11 41l-9 37h40l-9-37a22 22 0 0 0-11-41Z"/>
      </svg>`
}

const PHONES = ['iPhone', 'Android', 'iPad']

/** A phone or a screen, as the system says. */
export function deviceDrawing(system: string): Html {
  const shape = PHONES.includes(system)
    ? html`<rect x="9" y="3" width="14" height="26" rx="3"/><path d="M14 25h4"/>`
    : html`<rect x="4" y="6" width="24" height="16" rx="2"/><path d="M1 27h30"/>`
  return html`<svg class="device-drawing" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">${shape}</svg>`
}
