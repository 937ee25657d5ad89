import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from './library.ts'

const run = promisify(execFile)

interface Manifest {
  readonly name: string
  readonly version: string
}

export interface LocalRegistry {
  readonly url: string
  stop(): Promise<void>
}

/** A package registry on 127.0.0.1: of our package it has the tarball, of all others what this project has installed. */
export async function startLocalRegistry(tarball: string): Promise<LocalRegistry> {
  const folders = installedPackages()
  const { name: ours } = manifestIn(ROOT)
  const server = createServer(async (req, res) => {
    const request = /^\/((?:@[^/]+\/)?[^/]+?)(?:\/-\/([^/]+)\.tgz)?$/.exec(decodeURIComponent(req.url ?? ''))
    const [, name = '', version] = request ?? []
    const known = name === ours ? [ROOT] : (folders.get(name) ?? [])
    const folder = known.find((each) => manifestIn(each).version === version)
    if (version === undefined && known.length > 0)
      res.end(JSON.stringify(listingOf(url, known.map(manifestIn))))
    else if (folder === undefined) res.writeHead(404).end()
    else res.end(folder === ROOT ? readFileSync(tarball) : await packed(folder))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    stop: async () => {
      server.closeAllConnections()
      await promisify(server.close.bind(server))()
    },
  }
}

/** What a registry says of a package of which it has these versions. */
function listingOf(url: string, manifests: readonly Manifest[]): object {
  const versions = manifests.map((manifest) => [
    manifest.version,
    { ...manifest, dist: { tarball: `${url}/${manifest.name}/-/${manifest.version}.tgz` } },
  ])
  return {
    name: manifests[0]?.name,
    'dist-tags': { latest: manifests[0]?.version },
    versions: Object.fromEntries(versions),
  }
}

/** The folders of every installed package, by its name: the one at the top first. */
function installedPackages(): ReadonlyMap<string, readonly string[]> {
  const lock = JSON.parse(readFileSync(join(ROOT, 'node_modules/.package-lock.json'), 'utf8')) as {
    packages: Record<string, { name?: string }>
  }
  const folders = new Map<string, string[]>()
  for (const [path, { name = path.split('node_modules/').at(-1) ?? '' }] of Object.entries(lock.packages))
    folders.set(name, [...(folders.get(name) ?? []), join(ROOT, path)])
  return folders
}

function manifestIn(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
}

async function packed(folder: string): Promise<Buffer> {
  const args = ['-czf', '-', '--exclude=./node_modules', '--transform=s,^\\.,package,', '.']
  const { stdout } = await run('tar', args, { cwd: folder, encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 })
  return stdout
}
