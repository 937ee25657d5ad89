import type { SessionStore } from '../../lib/store/store.ts'

/** The events about contents that a store emits, from now on: name, handle, and whatever else is told. */
export function contentEventsOf(store: SessionStore): readonly string[] {
  const events: string[] = []
  for (const name of ['session-invalid', 'session-unknown-key'] as const) {
    store.on(name, ({ handle, ...more }) => events.push([name, handle, ...Object.keys(more)].join(' ')))
  }
  return events
}
