import { isDeepStrictEqual } from 'node:util'

/** The content of a session by top-level key. */
export type Content = Readonly<Record<string, unknown>>

export interface MergeSides {
  /** The content that our changes are based on. */
  readonly base: Content
  readonly ours: Content
  readonly theirs: Content
}

function isSame(a: Content, b: Content, key: string): boolean {
  return Object.hasOwn(a, key) === Object.hasOwn(b, key) && isDeepStrictEqual(a[key], b[key])
}

/** Returns the top-level keys that differ between two contents, including those that only one has. */
export function changedKeys(before: Content, after: Content): readonly string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...keys].filter((key) => !isSame(before, after, key))
}

/** The differences between two contents: top-level keys, and attributes of the cookie. */
export interface Changes {
  readonly keys: readonly string[]
  readonly attributes: readonly string[]
}

export function changesBetween(before: Content, after: Content): Changes {
  return {
    keys: changedKeys(before, after).filter((key) => key !== 'cookie'),
    attributes: changedKeys(cookieOf(before), cookieOf(after)),
  }
}

/** Returns those of `changes` that are not among `others`. */
export function without(changes: Changes, others: Changes): Changes {
  return {
    keys: changes.keys.filter((key) => !others.keys.includes(key)),
    attributes: changes.attributes.filter((name) => !others.attributes.includes(name)),
  }
}

/** Lays the changes of `source` over `target`, including deletions. */
export function overlay(target: Content, source: Content, { keys, attributes }: Changes): Content {
  const result = laid(target, source, keys)
  return attributes.length === 0
    ? result
    : { ...result, cookie: laid(cookieOf(target), cookieOf(source), attributes) }
}

function laid(target: Content, source: Content, keys: readonly string[]): Content {
  const result: Record<string, unknown> = { ...target }
  for (const key of keys) {
    if (Object.hasOwn(source, key)) result[key] = source[key]
    else delete result[key]
  }
  return result
}

/** Merges top-level keys and the cookie's attributes three ways: our changes since `base` over the stored content. */
export function mergeContents({ base, ours, theirs }: MergeSides): Content {
  return overlay(theirs, ours, changesBetween(base, ours))
}

/** Returns whether both sides changed the same key or attribute to different values. */
export function clashes({ base, ours, theirs }: MergeSides): boolean {
  const [mine, their] = [changesBetween(base, ours), changesBetween(base, theirs)]
  const [cookie, theirCookie] = [cookieOf(ours), cookieOf(theirs)]
  return (
    mine.keys.some((key) => their.keys.includes(key) && !isSame(ours, theirs, key)) ||
    mine.attributes.some((name) => their.attributes.includes(name) && !isSame(cookie, theirCookie, name))
  )
}

/** Returns the cookie of a content; an empty one if it has none. */
export function cookieOf({ cookie }: Content): Content {
  return typeof cookie === 'object' && cookie !== null ? (cookie as Content) : {}
}
