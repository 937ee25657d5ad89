/** The program of forked-app.ts. */

import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { createApp, listen } from './app.ts'
import type { ForkedSetting } from './forked-app.ts'
import { SECRET } from './parts-store.ts'

const {
  store: options,
  sessions = [{}],
  clockOffsetMs = 0,
} = JSON.parse(process.argv[2] ?? '') as ForkedSetting

// A machine whose wall clock is wrong, as far as this process can tell.
if (clockOffsetMs !== 0) {
  const RightDate = Date
  globalThis.Date = class extends RightDate {
    constructor(...args: [number?]) {
      if (args.length === 0) super(RightDate.now() + clockOffsetMs)
      else super(...(args as [number]))
    }

    static override now(): number {
      return RightDate.now() + clockOffsetMs
    }
  } as DateConstructor
}

const store = new ValkeyStore({
  secrets: [SECRET],
  connectTimeoutMs: 10_000,
  commandTimeoutMs: 10_000,
  ...options,
})
const apps = await Promise.all(sessions.map((session) => listen(createApp({ store, session }))))
process.send?.(apps.map(({ origin }) => origin))

// The parent has closed the channel, or is gone.
process.once('disconnect', () => process.exit())
