import { type Html, html } from '../html.ts'

/** Half a line of a path: above the spot of its row, or below it. */
export interface PathLine {
  readonly x: number
  readonly half: 'upper' | 'lower'
  /** The class of the line. */
  readonly kind: string
}

/** The lines that lead through a row of a path, as high as the row's text makes it. */
export function pathLines(width: number, lines: readonly PathLine[]): Html {
  return html`<svg class="path-lines" width="${width}" viewBox="0 0 ${width} 2" preserveAspectRatio="none" aria-hidden="true">${lines.map(
    ({ x, half, kind }) => html`<path class="${kind}" d="M${x} ${half === 'upper' ? '0V1' : '1V2'}"/>`,
  )}</svg>`
}
