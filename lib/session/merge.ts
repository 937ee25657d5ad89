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

/** What differs between two contents: top-level keys, and attributes of the cookie. */
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

/** What of `changes` is not among `others`. */
export function without(changes: Changes, others: Changes): Changes {
  return {
    keys: changes.keys.filter((key) => !others.keys.includes(key)),
    attributes: changes.attributes.filter((name) => !others.attributes.includes(name)),
  }
}

/** Lays what changed in `source` over `target`, deletions included. */
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

/** Three-way merge of top-level keys and of the cookie's attributes: what we changed since `base` over what stands now. */
export function mergeContents({ base, ours, theirs }: MergeSides): Content {
  return overlay(theirs, ours, changesBetween(base, ours))
}

/** Whether both sides changed one key or attribute, to different values. */
export function clashes({ base, ours, theirs }: MergeSides): boolean {
  const [mine, their] = [changesBetween(base, ours), changesBetween(base, theirs)]
  const [cookie, theirCookie] = [cookieOf(ours), cookieOf(theirs)]
  return (
    mine.keys.some((key) => their.keys.includes(key) && !isSame(ours, theirs, key)) ||
    mine.attributes.some((name) => their.attributes.includes(name) && !isSame(cookie, theirCookie, name))
  )
}

/** The cookie of a content; an empty one if it has none. */
export function cookieOf({ cookie }: Content): Content {
  return typeof cookie === 'object' && cookie !== null ? (cookie as Content) : {}
}
