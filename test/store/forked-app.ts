import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { SessionOptions } from 'express-session'
import type { ValkeyStoreOptions } from '../../lib/store/valkey-store.ts'

/** What a process of its own is told at its start: all of it must be JSON. */
export interface ForkedSetting {
  readonly store: Pick<ValkeyStoreOptions, 'prefix' | 'ttl' | 'absoluteTtl' | 'touchAfter'> & {
    readonly connection: { readonly url: string }
  }
  /** One app for each. */
  readonly sessions?: readonly (Pick<SessionOptions, 'resave' | 'rolling'> & {
    readonly cookie?: { readonly maxAge: number }
  })[]
  /** How far its `Date` is off, in ms. */
  readonly clockOffsetMs?: number
}

export interface ForkedApp {
  readonly origins: readonly string[]
  close(): Promise<void>
}

/** Apps of app.ts on a Valkey store, in a process of their own. */
export async function forkApp(setting: ForkedSetting): Promise<ForkedApp> {
  const child = fork(new URL('./app-process.ts', import.meta.url), [JSON.stringify(setting)], {
    execArgv: ['--import', 'tsx'],
  })
  const origins = await originsOf(child)
  const close = async () => {
    const exited = once(child, 'exit')
    child.disconnect()
    await exited
  }
  return { origins, close }
}

async function originsOf(child: ChildProcess): Promise<readonly string[]> {
  const died = once(child, 'exit').then(() => {
    throw new Error('The process of the app ended before it listened')
  })
  const [origins] = (await Promise.race([once(child, 'message'), died])) as [readonly string[]]
  return origins
}
