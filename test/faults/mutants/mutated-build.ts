import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { ValkeyStoreOptions } from '../../../lib/store/valkey-store.ts'
import type { MakeStore } from '../standalone.ts'
import type { StoreUnderTest } from '../store-under-test.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** A change to a source file of lib/. Spaces and line breaks in `from` stand for any. */
export interface Patch {
  readonly file: string
  readonly from: string
  readonly to: string
}

type StoreClass = new (options: ValkeyStoreOptions) => StoreUnderTest

/** The store of a copy of lib/ in which something is changed. Throws if what is to be changed is not there once. */
export async function mutatedBuild(name: string, patches: readonly Patch[]): Promise<MakeStore> {
  const built = await imported('store/valkey-store.ts', name, patches)
  const { ValkeyStore } = built as { readonly ValkeyStore: StoreClass }
  return (options) => new ValkeyStore(options)
}

/** The entry point of tokens, of such a copy. */
export type AuthBuild = typeof import('../../../lib/auth/index.ts')

/** As {@link mutatedBuild}, of the entry point of tokens. */
export async function mutatedAuth(name: string, patches: readonly Patch[]): Promise<AuthBuild> {
  return (await imported('auth/index.ts', name, patches)) as AuthBuild
}

async function imported(file: string, name: string, patches: readonly Patch[]): Promise<unknown> {
  // Inside the project, so that dependencies are found.
  const folder = join(ROOT, '.cache', 'mutants', `${name.replaceAll(/\W+/g, '-')}-${process.pid}`)
  rmSync(folder, { recursive: true, force: true })
  cpSync(join(ROOT, 'lib'), folder, { recursive: true })
  cpSync(join(ROOT, 'tsconfig.json'), join(folder, 'tsconfig.json'))
  try {
    for (const patch of patches) apply(folder, patch)
    return await import(/* @vite-ignore */ pathToFileURL(join(folder, file)).href)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function apply(folder: string, patch: Patch): void {
  const path = join(folder, patch.file)
  writeFileSync(path, patched(readFileSync(path, 'utf8'), patch))
}

/** Throws if what is to be changed is not there once. */
export function patched(source: string, { file, from, to }: Patch): string {
  const parts = source.split(patternOf(from))
  if (parts.length !== 2)
    throw new Error(`lib/${file} holds this ${parts.length - 1} times, not once: ${from}`)
  return parts.join(to)
}

function patternOf(text: string): RegExp {
  const words = text.trim().split(/\s+/)
  return new RegExp(words.map(escaped).join('\\s+'))
}

function escaped(word: string): string {
  return word.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}
