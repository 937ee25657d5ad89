/** Values of another program, which are read here, judged by others, and removed once they are stored as records. */

/**
 * - `value`: its bytes, and how long it has left; `undefined` if it never expires.
 * - `too-large`: it has more than the bytes that were asked for.
 * - `other-type`: it is no string.
 */
export type ForeignValue =
  | { readonly state: 'value'; readonly bytes: Buffer; readonly leftMs: number | undefined }
  | { readonly state: 'missing' | 'too-large' | 'other-type' }

/** Where another program keeps its values, by name. Verbs reject as those of `Backend` do, and are safe to repeat. */
export interface ForeignValues {
  read(name: string, maxBytes: number): Promise<ForeignValue>
  /** Lets a value expire in `ms`, if it is there. */
  expireIn(name: string, ms: number): Promise<void>
  remove(name: string): Promise<void>
}
