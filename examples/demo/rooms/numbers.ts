import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import express, { Router } from 'express'
import type { Demo } from '../demo.ts'
import { type Html, html } from '../html.ts'
import { page, roomHeading } from '../page.ts'
import { readNext } from './lab-room.ts'

const IMAGES = new URL('../../../docs/images/', import.meta.url)

/** A chart that `npm run bench` has written. */
interface Chart {
  readonly file: string
  readonly title: string
}

/** The charts of `npm run bench` as it has written them last. */
export function numbers(_demo: Demo): Router {
  const router = Router()
  router.use('/charts', express.static(fileURLToPath(IMAGES), { index: false }))
  router.get('/', (req, res) => {
    const charts = chartsIn(IMAGES)
    const body = [
      roomHeading(
        'Numbers',
        'What a session costs here and with other stores, on one machine, as it was measured last.',
      ),
      html`<div class="lab">${charts.length === 0 ? EMPTY : charts.map(figure)}${READ_NEXT}</div>`,
    ]
    res.send(page(req, { title: 'Numbers', current: 'numbers', body, styles: ['labs.css'] }))
  })
  return router
}

const READ_NEXT = readNext('BENCHMARKS.md', 'Benchmarks: how it was measured, and every figure')

const EMPTY = html`<div class="empty">
        <p>Nothing has been measured yet. It takes some minutes:</p>
        <p><code>npm run bench</code></p>
      </div>`

function figure({ file, title }: Chart): Html {
  return html`<figure class="card chart"><img src="numbers/charts/${file}" alt="${title}" loading="lazy"></figure>`
}

function chartsIn(folder: URL): readonly Chart[] {
  const files = namesIn(folder).filter((name) => /^bench-[\w-]+\.svg$/.test(name))
  return files.map((file) => {
    const drawing = readFileSync(new URL(file, folder), 'utf8')
    return { file, title: /<title>([^<]+)/.exec(drawing)?.[1] ?? file }
  })
}

function namesIn(folder: URL): readonly string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}
