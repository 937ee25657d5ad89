import type { RegisteredSession } from '../../registry/registry.ts'
import { isHandle } from '../../session/names.ts'
import { type Command, EXIT, type Flags, type Invocation, UsageError } from '../command.ts'
import { CONNECTION_FLAGS, SECRET_FLAGS } from '../settings.ts'
import { countAll, withStore } from '../site.ts'
import { walk } from '../walk.ts'

const STORE_FLAGS: Flags = { ...CONNECTION_FLAGS, ...SECRET_FLAGS }
const USER: Flags = { user: { value: 'ID', help: 'the user id, as the option "userId" returns it' } }
const ENDING: Flags = {
  reason: { value: 'CODE', help: 'why, for the device list and the log [ended]' },
  actor: { value: 'ID', help: 'who ends it, shown beside the reason' },
}
const RATE: Flags = { rate: { value: 'N', help: 'visit at most N sessions a second; without --user' } }
const COLUMNS = ['HANDLE', 'STATUS', 'CREATED', 'LAST SEEN', 'EXPIRES', 'DEVICE', 'ENDED']

export const listSessions: Command = {
  name: 'sessions list',
  summary: "list a user's sessions, or the handles of all",
  flags: {
    ...STORE_FLAGS,
    ...USER,
    ...RATE,
    ended: { help: 'also those that ended lately; with --user' },
  },
  run: (invocation) =>
    withStore(invocation, async (store, site) => {
      const { output, signal } = invocation
      const user = invocation.text('user')
      if (user !== undefined) {
        const includeEnded = invocation.has('ended')
        const sessions = await store.registry.list(user, { includeEnded, limit: 10_000 })
        output.table({ sessions: sessions.map(jsonOf) }, COLUMNS, sessions.map(rowOf))
        return EXIT.ok
      }
      const isWhole = await walk({
        pages: site.backend.handles(),
        visit: async (handle) => output.print({ handle }, handle),
        progress: output.progress('keys', await countAll(site)),
        signal,
        rate: invocation.number('rate'),
      })
      return isWhole ? EXIT.ok : EXIT.interrupted
    }),
}

export const countSessions: Command = {
  name: 'sessions count',
  summary: "count a user's sessions, or all",
  flags: { ...STORE_FLAGS, ...USER, ...RATE },
  run: (invocation) =>
    withStore(invocation, async (store, site) => {
      const { output, signal } = invocation
      const user = invocation.text('user')
      if (user !== undefined) {
        const count = await store.registry.count(user)
        output.print({ sessions: count }, String(count))
        return EXIT.ok
      }
      let sessions = 0
      const isWhole = await walk({
        pages: site.backend.handles(),
        visit: async () => {
          sessions += 1
        },
        progress: output.progress('keys', await countAll(site)),
        signal,
        rate: invocation.number('rate'),
      })
      output.print({ sessions, isWhole }, `${sessions}${isWhole ? '' : ' so far'}`)
      return isWhole ? EXIT.ok : EXIT.interrupted
    }),
}

export const endSession: Command = {
  name: 'sessions end',
  operand: '<handle>',
  summary: 'end one session for good',
  flags: { ...STORE_FLAGS, ...ENDING },
  run: (invocation) =>
    withStore(invocation, async ({ registry }) => {
      const { outcome } = await registry.end({ handle: handleIn(invocation) }, termsOf(invocation))
      invocation.output.print({ outcome }, outcome)
      return outcome === 'not-found' ? EXIT.missing : EXIT.ok
    }),
}

export const endAllSessions: Command = {
  name: 'sessions end-all',
  summary: "end all of a user's sessions",
  flags: {
    ...STORE_FLAGS,
    ...USER,
    ...ENDING,
    except: { value: 'HANDLE', help: 'the one session to keep' },
  },
  run: (invocation) =>
    withStore(invocation, async ({ registry }) => {
      const except = invocation.text('except')
      if (except !== undefined && !isHandle(except)) throw new UsageError('--except must be a handle')
      const spared = except === undefined ? {} : { except: { handle: except } }
      const terms = { ...termsOf(invocation), ...spared }
      const { ended } = await registry.endAll(invocation.required('user'), terms)
      invocation.output.print({ ended }, `${ended.length} ended`)
      return EXIT.ok
    }),
}

/** The handle that is the operand. What is none is not quoted: it may be a session id. */
export function handleIn(invocation: Invocation): string {
  const { operand } = invocation
  if (operand === undefined) throw new UsageError('a handle is required')
  if (!isHandle(operand)) throw new UsageError('that is not a handle; a handle has 43 characters')
  return operand
}

function termsOf(invocation: Invocation) {
  const id = invocation.text('actor')
  const reason = invocation.text('reason')
  if (reason !== undefined && !/^[a-z][a-z0-9._-]{0,31}$/.test(reason))
    throw new UsageError('--reason must be 1 to 32 characters of a-z 0-9 - _ ., a letter first')
  if (id !== undefined && !/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,128}$/u.test(id))
    throw new UsageError('--actor must be 1 to 128 printable characters')
  const actor = id === undefined ? { type: 'operator' } : { type: 'operator', id }
  return { actor, ...(reason !== undefined && { reason }) }
}

function jsonOf({ isCurrent: _, ...session }: RegisteredSession): object {
  return session
}

function rowOf(session: RegisteredSession) {
  const { handle, status, createdAt, device } = session
  const described = device === undefined ? '' : Object.values(device).join(', ')
  return [
    handle,
    status,
    createdAt.toISOString(),
    status === 'active' ? session.lastSeenAt.toISOString() : '',
    status === 'active' ? session.expiresAt.toISOString() : '',
    described,
    session.status === 'active' ? '' : `${session.ending.at.toISOString()} ${session.ending.reason}`,
  ]
}
