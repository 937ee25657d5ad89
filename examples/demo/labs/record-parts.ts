/** Some bytes of a stored record, and what docs/FORMAT.md says of them. */
export interface Part {
  readonly name: string
  readonly bytes: Buffer
  readonly note: string
}

type Layout = readonly (readonly [name: string, length: number, note: string])[]

const HEADER: Layout = [
  ['format', 1, 'of the value'],
  ['expiry', 13, 'when the session expires, ms'],
  ['hard end', 13, 'when it ends for certain, ms; zeros: never'],
  ['owner', 43, 'a hash of the user’s id'],
  ['magic', 3, '“ESV”'],
  ['version', 1, 'of the sealed format'],
  ['mode', 1, '1 signed, 2 encrypted'],
  ['key id', 8, 'names the secret, and says nothing about it'],
]
const SIGNED: Layout = [
  ['payload', -32, 'the session, signed'],
  ['MAC', 32, 'HMAC-SHA-256 of everything and of the key it is under'],
]
const ENCRYPTED: Layout = [
  ['nonce', 24, 'random, new with each save'],
  ['ciphertext', -48, 'the session, encrypted (XAES-256-GCM)'],
  ['tag', 16, 'of the cipher'],
  ['MAC', 32, 'HMAC-SHA-256 of everything and of the key it is under'],
]
const MODE_AT = 74
const IS_ENCRYPTED = 2

/** A record's value taken apart, as docs/FORMAT.md specifies it. A negative length leaves as many bytes to the rest. */
export function partsOfRecord(value: Buffer): readonly Part[] {
  const layout = [...HEADER, ...(value[MODE_AT] === IS_ENCRYPTED ? ENCRYPTED : SIGNED)]
  let at = 0
  return layout.map(([name, length, note]) => {
    const end = length > 0 ? at + length : value.length + length
    const bytes = value.subarray(at, end)
    at = end
    return { name, bytes, note }
  })
}
