const LABEL = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$/

/** The most distinct labels that one session or user can gather in its life, declassified ones included. */
export const MAX_LABELS = 64

/** Whether it is a label: 1 to 64 characters of `A-Z a-z 0-9 . _ : / -`, a letter or digit first. Case counts. */
export function isLabel(value: unknown): value is string {
  return typeof value === 'string' && LABEL.test(value)
}

/** Each label once. Throws a `TypeError` if one is none; what was given is not quoted, as it may be data in the wrong place. */
export function distinctLabels(labels: readonly unknown[]): readonly string[] {
  if (!Array.isArray(labels)) throw new TypeError('Labels must be given as a list of strings')
  if (!labels.every(isLabel)) {
    throw new TypeError(
      'A label must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -, a letter or digit first',
    )
  }
  return [...new Set(labels)]
}
