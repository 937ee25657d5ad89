import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
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
  const tarballs = new Map<string, Promise<Buffer>>([[ROOT, Promise.resolve(readFileSync(tarball))]])
  const packed = (folder: string): Promise<Buffer> => {
    const known = tarballs.get(folder) ?? pack(folder)
    tarballs.set(folder, known)
    return known
  }
  const server = createServer(async (req, res) => {
    const request = /^\/((?:@[^/]+\/)?[^/]+?)(?:\/-\/([^/]+)\.tgz)?$/.exec(decodeURIComponent(req.url ?? ''))
    const [, name = '', version] = request ?? []
    const known = name === ours ? [ROOT] : (folders.get(name) ?? [])
    const folder = known.find((each) => manifestIn(each).version === version)
    if (version === undefined && known.length > 0) {
      const listed = known.map(async (each) => ({ manifest: manifestIn(each), tarball: await packed(each) }))
      res.end(JSON.stringify(listingOf(url, await Promise.all(listed))))
    } else if (folder === undefined) res.writeHead(404).end()
    else res.end(await packed(folder))
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

interface Packed {
  readonly manifest: Manifest
  readonly tarball: Buffer
}

/** What a registry says of a package of which it has these versions. */
function listingOf(url: string, packages: readonly Packed[]): object {
  const versions = packages.map(({ manifest, tarball }) => {
    // Yarn 1 takes no package without it.
    const shasum = createHash('sha1').update(tarball).digest('hex')
    const dist = { tarball: `${url}/${manifest.name}/-/${manifest.version}.tgz`, shasum }
    return [manifest.version, { ...manifest, dist }] as const
  })
  const [first] = packages
  return {
    name: first?.manifest.name,
    'dist-tags': { latest: first?.manifest.version },
    // Of a version that is installed twice the first, which is also the one that is sent.
    versions: Object.fromEntries(versions.reverse()),
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

async function pack(folder: string): Promise<Buffer> {
  const args = ['-czf', '-', '--exclude=./node_modules', '--transform=s,^\\.,package,', '.']
  const { stdout } = await run('tar', args, { cwd: folder, encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 })
  return stdout
}
