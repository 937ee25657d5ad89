import { optionError } from '../../option.ts'
import { checkHandle, checkOwner, isDigest } from '../arguments.ts'

const PREFIX = /^[A-Za-z0-9:_-]{1,64}$/

/** The keys of one owner's registry, in the order its scripts declare them. */
export type RegistryKeys = readonly [
  orders: string,
  expiries: string,
  pending: string,
  state: string,
  departed: string,
  untaken: string,
]

/**
 * Every key name of records and registries. The braces hold the hash tag: all keys of one handle, and all of one
 * owner, share a cluster slot, and nothing but a digest decides which.
 */
export interface Keys {
  record(handle: string): string
  tombstone(handle: string): string
  registry(owner: string): RegistryKeys
  /** The marks of those who use the prefix. */
  readonly marks: string
  /** The channel on which endings are published. */
  readonly notices: string
  /** Matches the record keys of this prefix and, as neither prefix nor handle has a glob character, no others. */
  readonly recordPattern: string
  /** The handle in a record key of this prefix, `undefined` for any other key. */
  handleOf(recordKey: string): string | undefined
}

/**
 * The prefix, if it is 1 to 64 characters of `[A-Za-z0-9:_-]`.
 *
 * @throws TypeError if it is not.
 */
export function parsePrefix(prefix: unknown): string {
  if (typeof prefix === 'string' && PREFIX.test(prefix)) return prefix
  throw optionError('prefix', '1 to 64 characters of A-Z, a-z, 0-9, ":", "_" and "-"', prefix)
}

export function createKeys(prefix: string): Keys {
  const start = `${parsePrefix(prefix)}:r:{`
  return {
    record: (handle) => `${start}${checked(handle)}}`,
    tombstone: (handle) => `${prefix}:e:{${checked(handle)}}`,
    registry(owner) {
      checkOwner(owner)
      const key = (letter: string) => `${prefix}:${letter}:{${owner}}`
      return [key('o'), key('x'), key('p'), key('s'), key('d'), key('u')]
    },
    // With a hash tag, as all keys have one.
    marks: `${prefix}:k:{keys}`,
    notices: `${prefix}:n`,
    recordPattern: `${start}*}`,
    handleOf(recordKey) {
      const handle = recordKey.slice(start.length, -1)
      return isDigest(handle) && recordKey === `${start}${handle}}` ? handle : undefined
    },
  }
}

function checked(handle: string): string {
  checkHandle(handle)
  return handle
}
