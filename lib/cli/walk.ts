import { setTimeout as delay } from 'node:timers/promises'
import { SCAN_COUNT } from '../backend/valkey/scan.ts'
import type { Progress } from './progress.ts'

export interface WalkTerms<Item> {
  /** Steps of a scan, each of about as many keys as one step looks at. */
  readonly pages: AsyncIterable<readonly Item[]>
  visit(item: Item): Promise<unknown>
  readonly progress: Progress
  /** Stops after the items that are being visited. */
  readonly signal: AbortSignal
  /** How many items a second at most; any number without. */
  readonly rate?: number | undefined
}

const SIDE_BY_SIDE = 50
const PAUSE_AT_MOST_MS = 1000

/** Visits everything that a scan finds, some at a time. Answers whether it came to the end. */
export async function walk<Item>(terms: WalkTerms<Item>): Promise<boolean> {
  const { pages, visit, progress, signal, rate = Number.POSITIVE_INFINITY } = terms
  const startMs = performance.now()
  const width = Math.max(1, Math.min(SIDE_BY_SIDE, rate))
  let visited = 0
  let isWhole = false
  try {
    for await (const page of pages) {
      for (let at = 0; at < page.length; at += width) {
        if (signal.aborted) return false
        const items = page.slice(at, at + width)
        await Promise.all(items.map(visit))
        visited += items.length
        progress.advance((SCAN_COUNT * items.length) / page.length)
        await pauseUntil(startMs + (visited / rate) * 1000, signal)
      }
      if (page.length === 0) progress.advance(SCAN_COUNT)
      if (signal.aborted) return false
    }
    isWhole = true
    return true
  } finally {
    progress.end(isWhole)
  }
}

async function pauseUntil(timeMs: number, signal: AbortSignal): Promise<void> {
  for (let leftMs = timeMs - performance.now(); leftMs > 0 && !signal.aborted; ) {
    await delay(Math.min(leftMs, PAUSE_AT_MOST_MS), undefined, { signal }).catch(() => {})
    leftMs = timeMs - performance.now()
  }
}
