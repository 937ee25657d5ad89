import { isDeepStrictEqual } from 'node:util'

/** The content of a session by top-level key. */
export type Content = Readonly<Record<string, unknown>>

export interface MergeSides {
  /** What our copy was last in step with. */
  readonly base: Content
  readonly ours: Content
  readonly theirs: Content
}

function isSame(a: Content, b: Content, key: string): boolean {
  return Object.hasOwn(a, key) === Object.hasOwn(b, key) && isDeepStrictEqual(a[key], b[key])
}

/** The top-level keys that differ between two contents; a key that only one has differs. */
export function changedKeys(before: Content, after: Content): readonly string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...keys].filter((key) => !isSame(before, after, key))
}

/** Lays `keys` of `source` over `target`, deletions included. */
export function overlay(target: Content, source: Content, keys: readonly string[]): Content {
  const result: Record<string, unknown> = { ...target }
  for (const key of keys) {
    if (Object.hasOwn(source, key)) result[key] = source[key]
    else delete result[key]
  }
  return result
}

/** Three-way merge of top-level keys: what we changed since `base` over what stands now. The cookie is ours. */
export function mergeContents({ base, ours, theirs }: MergeSides): Content {
  return overlay(theirs, ours, ['cookie', ...changedKeys(base, ours)])
}

/** Whether both sides changed one key, to different values. */
export function clashes({ base, ours, theirs }: MergeSides): boolean {
  const theirChanges = new Set(changedKeys(base, theirs))
  return changedKeys(base, ours).some(
    (key) => key !== 'cookie' && theirChanges.has(key) && !isSame(ours, theirs, key),
  )
}
