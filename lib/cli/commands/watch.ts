import { once } from 'node:events'
import type { EndNotice } from '../../backend/backend.ts'
import { isHandle } from '../../session/names.ts'
import type { ValkeyStore } from '../../store/valkey-store.ts'
import { type Command, EXIT, type Invocation, UsageError } from '../command.ts'
import { CONNECTION_FLAGS, SECRET_FLAGS } from '../settings.ts'
import { type Site, withStore } from '../site.ts'

export const watch: Command = {
  name: 'watch',
  operand: '[<handle>]',
  summary: "report endings as they happen: of one session, of a user's, or of all",
  flags: {
    ...CONNECTION_FLAGS,
    ...SECRET_FLAGS,
    user: { value: 'ID', help: 'the user id, as the option "userId" returns it' },
  },
  run: (invocation) =>
    withStore(invocation, async (store, site) => {
      const { operand: handle } = invocation
      const userId = invocation.text('user')
      if (handle !== undefined && userId !== undefined)
        throw new UsageError('a handle and --user exclude each other')
      if (handle !== undefined && !isHandle(handle)) throw new UsageError('that is not a handle')
      if (handle === undefined && userId === undefined) return watchAll(invocation, store, site)
      const target = handle === undefined ? { userId: userId ?? '' } : { handle }
      invocation.output.note('Watching; Ctrl-C ends it.')
      for await (const ending of store.registry.watch(target, { signal: invocation.signal }))
        tell(invocation, ending)
      return EXIT.ok
    }),
}

// Endings of all are only heard, never looked for: a message between servers that is lost stays lost.
async function watchAll(invocation: Invocation, store: ValkeyStore, site: Site): Promise<typeof EXIT.ok> {
  const { output, signal } = invocation
  const notice = ({ handle }: EndNotice) =>
    void store.registry.ending({ handle }).then(
      (ending) => tell(invocation, { handle, ...(ending ?? { at: new Date(), reason: 'unknown' }) }),
      () => tell(invocation, { handle, at: new Date(), reason: 'unknown' }),
    )
  const gap = () => output.note('Watching; Ctrl-C ends it.')
  const stop = site.backend.subscribe({ notice, gap })
  if (!signal.aborted) await once(signal, 'abort')
  stop()
  return EXIT.ok
}

interface ToldEnding {
  readonly handle: string
  readonly at: Date
  readonly reason: string
  readonly actor?: { readonly type: string; readonly id?: string | undefined }
}

function tell({ output }: Invocation, { handle, at, reason, actor }: ToldEnding): void {
  const by = actor === undefined ? '' : ` by ${[actor.type, actor.id].filter(Boolean).join(' ')}`
  output.print({ handle, at, reason, actor }, `${at.toISOString()} ${handle} ${reason}${by}`)
}
