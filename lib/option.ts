/** Checks of single options. Each failure is a `TypeError` that names the option and says what it should be. */

import { isSessionStoreError, StoreOptionError } from './errors.ts'

export function optionError(name: string, expectation: string, value?: unknown): TypeError {
  return new TypeError(
    `Option "${name}" must be ${expectation}${value === undefined ? '' : `, got ${shown(value)}`}`,
  )
}

// Quotes only numbers, booleans and short words: a longer string may be a secret in the wrong place.
function shown(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value)
  if (typeof value === 'string')
    return value.length <= 16 ? JSON.stringify(value) : `a string of ${value.length} characters`
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}

/** Returns the error of an option that holds a secret. */
export function secretError(name: string, expectation: string): TypeError {
  return optionError(name, `${expectation}; make one with "openssl rand -hex 32"`)
}

/** Rejects a text with white space around it: a process that reads the same secret without it would have another one. */
export function checkUnpadded(value: string | Uint8Array, name: string): void {
  const text = typeof value === 'string' ? value : textIn(value)
  if (text === text.trim()) return
  throw secretError(
    name,
    'without white space around it (a file often ends with a newline: remove it with trim())',
  )
}

// Bytes that were read from a text file. Random bytes are hardly ever all ASCII.
function textIn(bytes: Uint8Array): string {
  const isText = bytes.every((byte) => (byte >= 0x20 && byte < 0x7f) || (byte >= 0x09 && byte <= 0x0d))
  return isText ? Buffer.from(bytes).toString('latin1') : ''
}

/** Throws a `TypeError` that names the first unknown option, and a similar one or what to write instead. */
export function checkKnown(options: object, known: readonly string[], owner: string): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    const hint = hintFor(name, known)
    throw new TypeError(
      `Unknown option "${name}" of ${owner}${hint ? ` (${hint})` : ''}; known are ${known.join(', ')}`,
    )
  }
}

/**
 * The options of one function or object: for each its default, its check and what it becomes. A name that is missing here does
 * not compile, and messages list the names that are here.
 */
export type OptionTable<Options, Names extends keyof Options = keyof Options> = {
  readonly [Name in Names]-?: (value: Options[Name], name: string) => unknown
}

type Readers<Table> = { readonly [Name in keyof Table]: (value: never, name: string) => unknown }
type Given<Table> = { readonly [Name in keyof Table]?: unknown }
export type Read<Table extends Readers<Table>> = { readonly [Name in keyof Table]: ReturnType<Table[Name]> }

/**
 * Applies the defaults and checks every option once. Throws a `TypeError` that names the first unknown or wrong one, and the
 * `owner` of the options.
 */
export function readOptions<const Table extends Readers<Table>>(
  options: Given<Table>,
  table: Table,
  owner: string,
): Read<Table> {
  checkObject('options', options)
  checkKnown(options, Object.keys(table), owner)
  return readTable(options, table, '')
}

/** As {@link readOptions}, for an option that is itself an object of options: messages name them `name.option`. */
export function readGroup<const Table extends Readers<Table>>(
  name: string,
  options: Given<Table>,
  table: Table,
): Read<Table> {
  checkObject(name, options)
  checkKnown(options, Object.keys(table), `"${name}"`)
  return readTable(options, table, `${name}.`)
}

function readTable<Table extends Readers<Table>>(
  options: Given<Table>,
  table: Table,
  prefix: string,
): Read<Table> {
  const names = Object.keys(table) as (keyof Table & string)[]
  const read = names.map((name) => [name, table[name](options[name] as never, `${prefix}${name}`)])
  return Object.fromEntries(read)
}

const OF_THE_STORE = 'it is an option of the store: new ValkeyStore({ … })'
const OF_THE_CONNECTION = 'it is an option of "connection"'
const IN_THE_URL = `it is part of the URL: connection: { url: 'valkey://user:password@host:6379/0' }`

/** What to write instead of an option of connect-redis, of a client, or of another part of this package. */
const ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ['disableTTL', 'every session expires: set "ttl" to how long one may stay unused, in seconds'],
  ['disableTouch', 'a use extends a session: set "absoluteTtl" to give it a fixed end, in seconds'],
  ['scanCount', 'leave it out: the store scans in pages of its own'],
  ['ttl', OF_THE_STORE],
  ['prefix', OF_THE_STORE],
  ['serializer', OF_THE_STORE],
  ['client', OF_THE_STORE],
  ['secrets', OF_THE_STORE],
  ['url', OF_THE_CONNECTION],
  ['nodes', OF_THE_CONNECTION],
  ['sentinels', OF_THE_CONNECTION],
  ['username', OF_THE_CONNECTION],
  ['password', OF_THE_CONNECTION],
  ['tls', OF_THE_CONNECTION],
  ['host', IN_THE_URL],
  ['port', IN_THE_URL],
  ['db', IN_THE_URL],
  ['database', IN_THE_URL],
  ['socket', IN_THE_URL],
])

function hintFor(name: string, known: readonly string[]): string | undefined {
  const elsewhere = ELSEWHERE.get(name)
  if (elsewhere !== undefined) return elsewhere
  const [nearest] = known
    .map((word) => ({ word, edits: editsBetween(name.toLowerCase(), word.toLowerCase()) }))
    .filter(({ word, edits }) => edits <= Math.max(1, Math.floor(word.length / 4)))
    .sort((one, other) => one.edits - other.edits)
  return nearest && `did you mean "${nearest.word}"?`
}

/** Returns how many letters to insert, remove, replace or swap to turn one word into the other. */
function editsBetween(from: string, to: string): number {
  let [before, last] = [[] as number[], Array.from({ length: to.length + 1 }, (_, at) => at)]
  for (let row = 1; row <= from.length; row += 1) {
    const edits = [row]
    for (let at = 1; at <= to.length; at += 1) {
      const isSame = from[row - 1] === to[at - 1]
      const isSwap = row > 1 && at > 1 && from[row - 1] === to[at - 2] && from[row - 2] === to[at - 1]
      edits[at] = Math.min(
        (last[at] ?? 0) + 1,
        (edits[at - 1] ?? 0) + 1,
        (last[at - 1] ?? 0) + (isSame ? 0 : 1),
        isSwap ? (before[at - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    ;[before, last] = [last, edits]
  }
  return last[to.length] ?? 0
}

export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    // A text in the place of an object may be a URL with a password.
    throw optionError(name, 'an object', typeof value === 'string' ? undefined : value)
}

/** Rejects a configuration without a kind that has an option of the kind `valkey` alone: kept in this process, data would be lost. */
export function checkMemoryMeant(config: object, ofValkey: object): void {
  const name = Object.entries(config).find(
    ([key, value]) => value !== undefined && Object.hasOwn(ofValkey, key),
  )?.[0]
  if (name !== undefined)
    throw optionError('kind', `'valkey' where "${name}" is given, or 'in-process', which ignores it`)
}

/** 100 years, the longest lifetime, in seconds. */
export const MAX_TTL_S = 100 * 365 * 86_400
export const MAX_TTL_MS = MAX_TTL_S * 1000

interface Range {
  readonly min: number
  readonly max: number
}

export function checkNumber(name: string, value: unknown, range: Range): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < range.min || value > range.max) {
    throw optionError(name, `a number from ${range.min} to ${range.max}`, value)
  }
  return value
}

export function checkInteger(name: string, value: unknown, range: Range): number {
  if (!Number.isInteger(value))
    throw optionError(name, `a whole number from ${range.min} to ${range.max}`, value)
  return checkNumber(name, value, range)
}

export function checkFunction<Value>(name: string, value: Value): Value {
  if (typeof value !== 'function') throw optionError(name, 'a function', value)
  return value
}

// With NaN, or a number in a string, sessions would never expire.
const TIMES_MS = { min: 0, max: 8.64e15 }

/** Returns a clock that checks each reading. */
export function clockOf(name: string, clock: { now(): number }): { now(): number } {
  checkObject(name, clock)
  checkFunction(`${name}.now`, clock.now)
  return { now: () => checkNumber(`${name}.now`, clock.now(), TIMES_MS) }
}

/**
 * Returns whether a value has these methods. Not `instanceof`: an app may load this package as a module and as CommonJS, and so
 * have two classes of one name.
 */
export function hasMethods(value: unknown, names: readonly string[]): boolean {
  const members = Object(value) as Readonly<Record<string, unknown>>
  return names.every((name) => typeof members[name] === 'function')
}

export function checkOneOf<const Word extends string>(
  name: string,
  value: unknown,
  words: readonly Word[],
): Word {
  const found = words.find((word) => word === value)
  if (found === undefined)
    throw optionError(name, `one of ${words.map((word) => `'${word}'`).join(', ')}`, value)
  return found
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw optionError(name, 'true or false', value)
  return value
}

type AppFunction = 'actor' | 'device' | 'onStoreError' | 'subject' | 'ttl' | 'userId'

/** Calls a function given as an option; turns what it throws into a `StoreOptionError`, which names the option. */
export function askOption<Value>(option: AppFunction, ask: () => Value): Value {
  try {
    return ask()
  } catch (error) {
    throw isSessionStoreError(error) ? error : new StoreOptionError(option, error)
  }
}

const CODE = /^[a-z][a-z0-9._-]{0,31}$/
const A_CODE = '1 to 32 characters of a-z 0-9 - _ ., a letter first'
// No control characters, line separators or lone surrogates: an actor's id is logged.
const ACTOR_ID = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,128}$/u

/** Returns whether it is a short code: the reason of an ending, or the type of an actor. */
export function isCode(value: unknown): value is string {
  return typeof value === 'string' && CODE.test(value)
}

export function checkCode(name: string, value: unknown): string {
  if (isCode(value)) return value
  throw optionError(name, A_CODE)
}

/** Who ended a session, or declassified labels. */
export interface Actor {
  /** A short code, such as `user`, `admin` or `system`: 1 to 32 characters of `a-z 0-9 - _ .`, a letter first. */
  readonly type: string
  /** Which one, as the app names it; at most 128 printable characters. */
  readonly id?: string | undefined
}

/** Returns a checked copy of the actor, without any other property. */
export function checkActor(actor: Actor): Actor {
  checkObject('actor', actor)
  checkKnown(actor, ['type', 'id'], 'the actor')
  const { type, id } = actor
  checkCode('actor.type', type)
  if (id === undefined) return { type }
  if (typeof id !== 'string' || !ACTOR_ID.test(id))
    throw optionError('actor.id', '1 to 128 printable characters')
  return { type, id }
}
