import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const FILE = fileURLToPath(new URL('gotrue-like.mjs', import.meta.url))

/** What the server does instead of its work. */
export interface UpstreamFaults {
  readonly form?: 'new' | 'old' | 'oldest' | 'header'
  readonly status?: number
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
  readonly garbage?: string
  readonly endless?: boolean
  readonly redirect?: boolean
  readonly cut?: boolean
  readonly delayMs?: number
}

interface SeenRequest {
  readonly route: string
  readonly apikey?: string
  readonly version?: string
  readonly body: string
}

interface UpstreamState {
  /** The requests since the last look. */
  readonly seen: readonly SeenRequest[]
  readonly sessions: readonly { readonly active: string; readonly parent?: string; readonly access: string }[]
}

/** A process that behaves as GoTrue does, written for these tests: no real one is run. */
export interface Upstream {
  readonly url: string
  fault(faults: UpstreamFaults): Promise<void>
  ban(isBanned: boolean): Promise<void>
  look(): Promise<UpstreamState>
  freeze(): void
  thaw(): void
  kill(): Promise<void>
}

export async function startUpstream(): Promise<Upstream> {
  const child = fork(FILE, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const [{ port }] = (await once(child, 'message')) as [{ readonly port: number }]
  const tell = async (message: object): Promise<UpstreamState> => {
    const replied = once(child, 'message')
    child.send(message)
    return (await replied)[0] as UpstreamState
  }
  return {
    url: `http://127.0.0.1:${port}`,
    fault: async (faults) => void (await tell({ faults })),
    ban: async (isBanned) => void (await tell({ ban: isBanned })),
    look: () => tell({ ask: true }),
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    kill: async () => {
      process.off('exit', kill)
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      kill()
      await exited
    },
  }
}
