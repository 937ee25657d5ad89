import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type AptMachine, readAptMachine, sourcesWithBackports } from './apt-sources.ts'
import { type UnpackedPackages, unpackPackages } from './debian-packages.ts'

// The tools package has the program and names the libraries it needs. The server package gives the program its name,
// but also depends on a system service we do not want, so it is unpacked without what it depends on.
const CHOICES = [
  { name: 'valkey', tools: 'valkey-tools', server: 'valkey-server' },
  { name: 'redis', tools: 'redis-tools', server: 'redis-server' },
]

export interface InstalledServer {
  readonly path: string
  /** What it needs in its environment. */
  readonly env: UnpackedPackages['env']
}

/**
 * The server in the project's cache. The first time it is fetched there, with the libraries the machine lacks, from the
 * machine's own package sources and their backports. Needs no root and leaves the system as it is. `undefined` where
 * there is no apt.
 */
export async function installedServer(): Promise<InstalledServer | undefined> {
  const machine = readAptMachine()
  if (machine === undefined) return undefined
  const failures: unknown[] = []
  for (const choice of CHOICES) {
    try {
      return await unpackServer(choice, machine)
    } catch (error) {
      failures.push(error)
    }
  }
  throw new AggregateError(failures, failures.map(String).join('\n'))
}

async function unpackServer(
  { name, tools, server }: (typeof CHOICES)[number],
  machine: AptMachine,
): Promise<InstalledServer> {
  const { root, env } = await unpackPackages({
    name,
    packages: [tools],
    alone: [server],
    sources: sourcesWithBackports(machine),
  })
  const path = join(root, 'usr/bin', server)
  if (!existsSync(path)) throw new Error(`${path} is not there; remove the folder ${root}`)
  return { path, env }
}
