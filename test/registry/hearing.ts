import type { SessionWatch, WatchedEnding } from '../../lib/registry/watch.ts'

/** What a watch has told so far, and whether it is over. */
export interface Hearing {
  readonly endings: WatchedEnding[]
  isOver: boolean
  handles(): string[]
}

/** Listens to a watch for as long as it goes on. */
export function hear(watch: SessionWatch): Hearing {
  const hearing: Hearing = {
    endings: [],
    isOver: false,
    handles: () => hearing.endings.map(({ handle }) => handle),
  }
  void (async () => {
    for await (const ending of watch) hearing.endings.push(ending)
    hearing.isOver = true
  })()
  return hearing
}
