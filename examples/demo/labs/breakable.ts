import type { Redis } from 'iovalkey'
import type { Breakable } from './outage.ts'

/** A Valkey process of our own, which keeps its data over a restart. */
export interface OwnServer {
  freeze(): unknown
  thaw(): unknown
  kill(): Promise<unknown>
  restart(): Promise<unknown>
  client(): Redis
}

/** Breaks a server in the ways in which servers break. */
export function breakable(server: OwnServer): Breakable {
  return {
    freeze: { begin: async () => server.freeze(), end: async () => server.thaw() },
    fill: {
      begin: () => configure(server, 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction', 'maxmemory', '1'),
      end: () => configure(server, 'CONFIG', 'SET', 'maxmemory', '0'),
    },
    // A replica of nobody: it serves what it has, and refuses writes.
    'read-only': {
      begin: () => configure(server, 'REPLICAOF', '127.0.0.1', '1'),
      end: () => configure(server, 'REPLICAOF', 'NO', 'ONE'),
    },
    kill: { begin: () => server.kill(), end: () => server.restart() },
  }
}

async function configure(server: OwnServer, command: string, ...values: readonly string[]): Promise<void> {
  const client = server.client()
  try {
    await client.call(command, ...values)
  } finally {
    client.disconnect()
  }
}
