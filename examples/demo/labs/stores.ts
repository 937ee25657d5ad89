import { randomBytes } from 'node:crypto'
import { RedisStore } from 'connect-redis'
import { MemoryStore, type Store } from 'express-session'
import {
  createLabelStore,
  createSessionStore,
  type LabelStore,
  type SessionStore,
} from 'express-session-valkey'
import { createClient } from 'redis'

/** What a lab runs on, opened for one run: two stores beside each other, and labels. */
export interface LabStores {
  readonly store: SessionStore
  readonly labels: LabelStore
  /** A store that writes whatever comes last, as it is widely used. */
  readonly plain: Store
  readonly plainName: string
  close(): Promise<unknown>
}

// Of this process alone: another one has another secret, and one prefix has one secret.
export const LAB_PREFIX = `lab-${randomBytes(4).toString('hex')}`
export const PLAIN_PREFIX = `${LAB_PREFIX}-plain:`
const SECRET = randomBytes(32)

/** For labs that are about something else than time. */
export const PATIENCE_MS = 5000

/**
 * On the Valkey at `url`, or in this process. `patienceMs` is how long a command may take, which on a busy machine is long;
 * without it, it is what the package takes by default.
 */
export async function openLabStores(url: string | undefined, patienceMs?: number): Promise<LabStores> {
  const sessions = { secrets: [SECRET], encrypt: true }
  if (url === undefined) {
    const store = createSessionStore({ ...sessions, kind: 'in-process' })
    const labels = createLabelStore({ kind: 'in-process' })
    const close = () => Promise.all([store.close(), labels.close()])
    return { store, labels, plain: new MemoryStore(), plainName: 'express-session’s MemoryStore', close }
  }
  const connection = { url }
  const store = createSessionStore({
    ...sessions,
    kind: 'valkey',
    connection,
    prefix: LAB_PREFIX,
    commandTimeoutMs: patienceMs,
  })
  const labels = createLabelStore({
    ...{ kind: 'valkey', connection, prefix: `${LAB_PREFIX}-labels` },
    onAlarm: ({ message }) => console.error(message),
    onAudit: () => {},
  })
  const client = createClient({ url: url.replace(/^valkey/, 'redis'), socket: { reconnectStrategy: false } })
  client.on('error', () => {})
  await client.connect()
  const close = async () => {
    if (client.isOpen) client.destroy()
    await Promise.all([store.close(), labels.close()])
  }
  return {
    store,
    labels,
    plain: new RedisStore({ client, prefix: PLAIN_PREFIX }),
    plainName: 'connect-redis',
    close,
  }
}
