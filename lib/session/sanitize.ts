/** Levels of objects and arrays in a session, the session itself included. */
export const MAX_DEPTH = 64

/**
 * Returns whether what a JSON text parses to is safe without {@link sanitize}: it has no key that reaches a prototype, no
 * escape that could hide one, and too few brackets for excessive depth.
 */
export function isHarmless(json: string): boolean {
  return !/__proto__|constructor|\\u/.test(json) && !mayBeTooDeep(json)
}

/** Returns whether a JSON text has enough brackets for excessive depth. */
export function mayBeTooDeep(json: string): boolean {
  return occurrences(json, '{') + occurrences(json, '[') > MAX_DEPTH
}

function occurrences(text: string, char: string): number {
  let count = 0
  for (let at = text.indexOf(char); at !== -1; at = text.indexOf(char, at + 1)) count += 1
  return count
}

interface Visit {
  readonly value: object
  readonly depth: number
}

/**
 * Makes parsed content safe to use: drops keys that reach prototypes, and calls `onDrop` for each. Returns whether it may be
 * used: not if it is too deep. Iterative, as a recursive walk overflows the stack at a depth that JSON.parse survives.
 */
export function sanitize(content: object, onDrop: () => void = () => {}): boolean {
  const seen = new Set<object>([content])
  const open: Visit[] = [{ value: content, depth: 1 }]
  for (let visit = open.pop(); visit !== undefined; visit = open.pop()) {
    if (visit.depth > MAX_DEPTH || hasForeignPrototype(visit.value)) return false
    for (const child of childrenOf(visit.value, onDrop)) {
      if (seen.has(child)) continue
      seen.add(child)
      open.push({ value: child, depth: visit.depth + 1 })
    }
  }
  return true
}

function childrenOf(value: object, onDrop: () => void): readonly object[] {
  if (Array.isArray(value)) return value.filter(isObject)
  if (!isPlain(value)) return []
  for (const key of unsafeKeysOf(value)) {
    Reflect.deleteProperty(value, key)
    onDrop()
  }
  return Object.values(value).filter(isObject)
}

// The keys by which a careless merge reaches a prototype. A `constructor` or a `prototype` alone reaches none.
function* unsafeKeysOf(value: object): Iterable<string> {
  if (Object.hasOwn(value, '__proto__')) yield '__proto__'
  const maker: unknown = Object.hasOwn(value, 'constructor') ? Reflect.get(value, 'constructor') : undefined
  if (isObject(maker) && Object.hasOwn(maker, 'prototype')) yield 'constructor'
}

// A parser that assigns `__proto__` swaps the prototype for a plain object; a class's own prototype names its constructor.
function hasForeignPrototype(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (!isObject(prototype)) return false
  const maker: unknown = Object.hasOwn(prototype, 'constructor')
    ? Reflect.get(prototype, 'constructor')
    : undefined
  return typeof maker !== 'function' || maker.prototype !== prototype
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Returns whether a value is a plain object, as parsers make them; dates, buffers and maps of a custom serializer are not. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (!isObject(value) || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
