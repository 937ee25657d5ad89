import { type ServerOptions, ValkeyServer } from './valkey-server.ts'

export { commandCounts, countCommands } from './command-counts.ts'
export { type PlainValkey, plainValkey } from './plain-valkey.ts'
export { startCluster, type ValkeyCluster } from './valkey-cluster.ts'
export { startSentinels, type ValkeySentinels } from './valkey-sentinel.ts'
export { type ServerOptions, ValkeyServer } from './valkey-server.ts'

/** Starts a server of our own on a free port of 127.0.0.1 and resolves when it answers. Stop it after the test. */
export async function startValkey(options: ServerOptions = {}): Promise<ValkeyServer> {
  return ValkeyServer.start(options)
}
