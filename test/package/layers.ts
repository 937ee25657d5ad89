import { posix } from 'node:path'
import { importsOf, type LibraryFile } from './library.ts'

/** A part of lib/ and what it may know of the others. docs/ARCHITECTURE.md has the same table. */
export interface Layer {
  readonly name: string
  /** Layers it may import from, besides itself and the leaves. */
  readonly imports: readonly string[]
  /** Packages it may import, besides Node's own modules. */
  readonly packages: readonly string[]
  /** Words that belong to other layers. */
  readonly foreignWords: readonly string[]
}

const LAYERS: readonly Layer[] = [
  {
    name: 'index.ts',
    imports: ['http', 'labels', 'store', 'registry', 'session', 'seal', 'backend', 'backend/valkey'],
    packages: [],
    foreignWords: [],
  },
  {
    name: 'auth',
    imports: ['http', 'registry', 'session', 'seal', 'backend', 'backend/valkey'],
    packages: ['jose', 'express', '@node-rs/argon2'],
    foreignWords: [],
  },
  {
    name: 'cli',
    imports: ['store', 'registry', 'session', 'seal', 'backend', 'backend/valkey'],
    packages: [],
    foreignWords: [],
  },
  {
    name: 'http',
    imports: ['store', 'registry', 'session', 'labels'],
    packages: ['express-session', 'express'],
    foreignWords: [],
  },
  { name: 'labels', imports: ['backend', 'backend/valkey'], packages: [], foreignWords: [] },
  {
    name: 'store',
    imports: ['registry', 'session', 'seal', 'backend'],
    packages: ['express-session', 'express'],
    foreignWords: [],
  },
  {
    name: 'registry',
    imports: ['session', 'seal', 'backend'],
    packages: [],
    foreignWords: ['cookie'],
  },
  {
    name: 'session',
    imports: ['seal', 'backend'],
    packages: ['express-session', 'msgpackr'],
    foreignWords: ['response'],
  },
  { name: 'seal', imports: [], packages: [], foreignWords: ['session', 'user', 'cookie'] },
  { name: 'backend', imports: [], packages: [], foreignWords: ['session', 'user', 'cookie'] },
  {
    name: 'backend/valkey',
    imports: ['backend'],
    packages: ['iovalkey', 'cockatiel'],
    foreignWords: ['session', 'seal', 'cookie'],
  },
]

/** Imported by everybody; they import each other at most. */
export const LEAVES = ['diagnostics.ts', 'errors.ts', 'option.ts', 'patience.ts', 'operations.ts']

/** The one file of the store that knows there is a Valkey: it builds the backend from the options. */
const WIRING = ['store/valkey-store.ts']

/** The layer a file below lib/ belongs to: the deepest whose folder it is in. */
export function layerOf(path: string): Layer | undefined {
  const within = LAYERS.filter(({ name }) => path === name || path.startsWith(`${name}/`))
  return within.sort((one, other) => other.name.length - one.name.length)[0]
}

/** Each import of the file that the table forbids, as `from -> to`. */
export function forbiddenImports(file: LibraryFile): string[] {
  return importsOf(file)
    .filter(
      (specifier) =>
        !(specifier.startsWith('.')
          ? mayImportFile(file.path, specifier)
          : mayImportPackage(file.path, specifier)),
    )
    .map((specifier) => `${file.path} -> ${specifier}`)
}

function mayImportFile(path: string, specifier: string): boolean {
  const target = posix.join(posix.dirname(path), specifier)
  if (LEAVES.includes(path)) return LEAVES.includes(target)
  if (LEAVES.includes(target)) return true
  const from = layerOf(path)
  const to = layerOf(target)
  if (from === undefined || to === undefined || to.name === 'index.ts') return false
  const isWiring = WIRING.includes(path) && to.name === 'backend/valkey'
  return from === to || from.imports.includes(to.name) || isWiring
}

function mayImportPackage(path: string, specifier: string): boolean {
  if (specifier.startsWith('node:')) return !LEAVES.includes(path) || specifier === 'node:diagnostics_channel'
  const name = specifier.startsWith('@')
    ? specifier.split('/').slice(0, 2).join('/')
    : specifier.split('/')[0]
  return layerOf(path)?.packages.includes(String(name)) ?? false
}

/** Each way along which files import each other in a circle, type imports included, once, from its first file by name. */
export function importCycles(files: readonly LibraryFile[]): string[] {
  const known = new Set(files.map(({ path }) => path))
  const targets = new Map(
    files.map((file) => [
      file.path,
      importsOf(file)
        .map((specifier) => posix.join(posix.dirname(file.path), specifier))
        .filter((path) => known.has(path)),
    ]),
  )
  const cycles = new Set<string>()
  const done = new Set<string>()
  const walk = (path: string, way: readonly string[]): void => {
    const from = way.indexOf(path)
    if (from >= 0) cycles.add(fromFirst(way.slice(from)))
    if (from >= 0 || done.has(path)) return
    for (const target of targets.get(path) ?? []) walk(target, [...way, path])
    done.add(path)
  }
  for (const { path } of files) walk(path, [])
  return [...cycles]
}

function fromFirst(cycle: readonly string[]): string {
  const first = cycle.indexOf([...cycle].sort()[0] ?? '')
  const turned = [...cycle.slice(first), ...cycle.slice(0, first)]
  return [...turned, turned[0]].join(' -> ')
}
