import { timingSafeEqual } from 'node:crypto'

/**
 * Whether two MACs or token hashes are the same, in time that does not depend on where they differ. Nothing equals
 * the empty one.
 */
export function equalInConstantTime(left: Buffer, right: Buffer): boolean {
  // timingSafeEqual throws for different lengths, and calls two empty buffers equal.
  return left.length > 0 && left.length === right.length && timingSafeEqual(left, right)
}
