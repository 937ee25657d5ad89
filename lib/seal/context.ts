/** What a blob is bound to: it opens in no other context than the one it was sealed in, and does not contain it. */
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
 * Returns the context as bytes: each field after its own length, so that no two contexts have the same bytes.
 *
 * @throws TypeError if a field has no such form.
 */
export function encodeContext({ purpose, prefix, name }: Context): Buffer {
  const head = headOf(purpose, prefix)
  const nameBytes = bytesOf('name', name)
  const encoded = Buffer.allocUnsafe(head.length + LENGTH_BYTES + nameBytes)
  encoded.set(head)
  encoded.writeUInt16BE(nameBytes, head.length)
  encoded.write(name, head.length + LENGTH_BYTES)
  return encoded
}

// A store seals all of one purpose under one prefix, so the fields before the name are encoded once.
const heads = new Map<string, { readonly prefix: string; readonly bytes: Buffer }>()

function headOf(purpose: string, prefix: string): Buffer {
  const known = heads.get(purpose)
  if (known?.prefix === prefix) return known.bytes
  if (!PURPOSE.test(purpose)) throw new TypeError('context.purpose must match [a-z][a-z0-9-]{0,31}')
  const bytes = Buffer.concat([encodeField('purpose', purpose), encodeField('prefix', prefix)])
  heads.set(purpose, { prefix, bytes })
  return bytes
}

function encodeField(field: keyof Context, value: string): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt16BE(bytesOf(field, value))
  return Buffer.concat([length, Buffer.from(value)])
}

function bytesOf(field: keyof Context, value: string): number {
  const bytes = Buffer.byteLength(value)
  // Every lone surrogate becomes U+FFFD in UTF-8, which would give different names the same bytes.
  if (bytes > MAX_FIELD_BYTES || !value.isWellFormed()) {
    throw new TypeError(`context.${field} must be well-formed text of at most ${MAX_FIELD_BYTES} bytes`)
  }
  return bytes
}
