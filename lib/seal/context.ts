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
const LONE_SURROGATE = /\p{Surrogate}/u
const MAX_FIELD_BYTES = 0xffff

/**
 * The context as bytes: each field after its own length, so that no two contexts have the same bytes. Throws a
 * `TypeError` if a field has no such form.
 */
export function encodeContext(context: Context): Buffer {
  if (!PURPOSE.test(context.purpose)) throw new TypeError('context.purpose must match [a-z][a-z0-9-]{0,31}')
  return Buffer.concat([
    encodeField('purpose', context.purpose),
    encodeField('prefix', context.prefix),
    encodeField('name', context.name),
  ])
}

function encodeField(field: keyof Context, value: string): Buffer {
  const bytes = Buffer.byteLength(value)
  // Every lone surrogate becomes U+FFFD in UTF-8, which would give different names the same bytes.
  if (bytes > MAX_FIELD_BYTES || LONE_SURROGATE.test(value)) {
    throw new TypeError(`context.${field} must be well-formed text of at most ${MAX_FIELD_BYTES} bytes`)
  }
  const encoded = Buffer.allocUnsafe(2 + bytes)
  encoded.writeUInt16BE(bytes)
  encoded.write(value, 2)
  return encoded
}
