import type { SessionWatch, WatchedEnding } from '../../lib/registry/watch.ts'

/** What a watch has told so far, and whether it is over. */
export interface CollectedEndings {
  readonly endings: WatchedEnding[]
  isOver: boolean
  handles(): string[]
}

/** Listens to a watch for as long as it goes on. */
export function collect(watch: SessionWatch): CollectedEndings {
  const collected: CollectedEndings = {
    endings: [],
    isOver: false,
    handles: () => collected.endings.map(({ handle }) => handle),
  }
  void (async () => {
    for await (const ending of watch) collected.endings.push(ending)
    collected.isOver = true
  })()
  return collected
}
