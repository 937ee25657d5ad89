import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { AptSources } from './apt-sources.ts'

const run = promisify(execFile)

/** The project's own cache; nothing outside it is written. */
const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url))
const APT_TIMEOUT_MS = 300_000

/** Where unpacked packages lie. */
export interface UnpackedPackages {
  /** The packages' `/`. */
  readonly root: string
  /** What runs a program of theirs: `LD_LIBRARY_PATH` with every folder that has libraries. */
  readonly env: Readonly<Record<string, string>>
}

export interface PackageRequest {
  /** The folder below `.cache`. */
  readonly name: string
  readonly packages: readonly string[]
  /** Packages that are wanted without what they depend on. */
  readonly alone?: readonly string[]
  /** Where to fetch from, if not simply from where the machine does. */
  readonly sources?: AptSources
}

/**
 * Downloads packages of the machine's own Debian or Ubuntu sources, with those of their dependencies that are not
 * installed, and unpacks them into the cache, once. Needs no root and installs nothing.
 */
export async function unpackPackages(request: PackageRequest): Promise<UnpackedPackages> {
  const root = join(CACHE, request.name)
  if (!(await exists(root))) await fill(root, request)
  return { root, env: { LD_LIBRARY_PATH: (await libraryFolders(root)).join(':') } }
}

// Filled aside and renamed when whole: an interrupted or a parallel run leaves no half of it behind.
async function fill(root: string, request: PackageRequest): Promise<void> {
  process.stderr.write(
    `Fetching ${request.packages.join(', ')} from this machine's package sources into ${root}\n`,
  )
  await mkdir(CACHE, { recursive: true })
  const work = await mkdtemp(join(CACHE, `${request.name}.partial-`))
  try {
    const archives = await download(work, request)
    await mkdir(join(work, 'root'))
    for (const archive of archives) await run('dpkg-deb', ['-x', archive, join(work, 'root')])
    await rename(join(work, 'root'), root)
  } catch (error) {
    if (!(await exists(root))) throw error
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function download(work: string, { packages, alone = [], sources }: PackageRequest): Promise<string[]> {
  const archives = join(work, 'cache', 'archives')
  await mkdir(join(archives, 'partial'), { recursive: true })
  await mkdir(join(work, 'state', 'lists', 'partial'), { recursive: true })
  const settings = [
    `Dir::State=${work}/state`,
    'Dir::State::status=/var/lib/dpkg/status',
    `Dir::Cache=${work}/cache`,
    'Debug::NoLocking=true',
    'APT::Sandbox::User=',
    'Acquire::Retries=3',
    ...(sources === undefined ? [] : await writeSources(work, sources)),
  ].flatMap((setting) => ['-o', setting])
  const apt = (args: readonly string[]) =>
    run('apt-get', [...settings, '-q', ...args], {
      cwd: archives,
      maxBuffer: 64 * 1024 * 1024,
      timeout: APT_TIMEOUT_MS,
    })
  await apt(['update'])
  await apt(['-y', '--no-install-recommends', '--download-only', 'install', ...packages])
  if (alone.length > 0) await apt(['download', ...alone])
  const names = await readdir(archives)
  return names.filter((name) => name.endsWith('.deb')).map((name) => join(archives, name))
}

async function writeSources(work: string, { list, sources }: AptSources): Promise<string[]> {
  const folder = join(work, 'sources')
  await mkdir(folder)
  await writeFile(join(folder, 'machine.list'), list)
  await writeFile(join(folder, 'machine.sources'), sources)
  return ['Dir::Etc::sourcelist=/dev/null', `Dir::Etc::sourceparts=${folder}`]
}

async function libraryFolders(root: string): Promise<string[]> {
  const files = await readdir(root, { recursive: true, withFileTypes: true })
  const libraries = files.filter((file) => /\.so(\.|$)/.test(file.name) && !file.isDirectory())
  return [...new Set(libraries.map((file) => dirname(join(file.parentPath, file.name))))]
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
