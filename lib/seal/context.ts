/** What a blob is bound to: it opens in the context it was sealed in and no other. The blob does not contain it. */
export interface Context {
  /** What the blob is for: one of a few fixed words, `[a-z][a-z0-9-]{0,31}`. Each has keys of its own. */
  readonly purpose: string
  /** Whose namespace it is kept in. */
  readonly prefix: string
  /** The one name within that namespace it is kept under. */
  readonly name: string
}

const PURPOSE = /^[a-z][a-z0-9-]{0,31}$/
const MAX_FIELD_BYTES = 0xffff
const LENGTH_BYTES = 2

/**
 * The context as bytes: each field after its own length, so that no two contexts have the same bytes. Throws a
 * `TypeError` if a field has no such form.
 */
export function encodeContext(context: Context): Buffer {
  if (!PURPOSE.test(context.purpose)) throw new TypeError('context.purpose must match [a-z][a-z0-9-]{0,31}')
  const purpose = bytesOf('purpose', context)
  const prefix = bytesOf('prefix', context)
  const name = bytesOf('name', context)
  const encoded = Buffer.allocUnsafe(3 * LENGTH_BYTES + purpose + prefix + name)
  const prefixAt = writeField(encoded, 0, context.purpose)
  const nameAt = writeField(encoded, prefixAt, context.prefix)
  writeField(encoded, nameAt, context.name)
  return encoded
}

function bytesOf(field: keyof Context, context: Context): number {
  const value = context[field]
  const bytes = Buffer.byteLength(value)
  // Every lone surrogate becomes U+FFFD in UTF-8, which would give different names the same bytes.
  if (bytes > MAX_FIELD_BYTES || !value.isWellFormed()) {
    throw new TypeError(`context.${field} must be well-formed text of at most ${MAX_FIELD_BYTES} bytes`)
  }
  return bytes
}

/** Returns where the next field begins. */
function writeField(encoded: Buffer, at: number, value: string): number {
  const bytes = encoded.write(value, at + LENGTH_BYTES)
  encoded.writeUInt16BE(bytes, at)
  return at + LENGTH_BYTES + bytes
}
