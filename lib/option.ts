/** Checks of single options. Each failure is a `TypeError` that names the option and says what it should be. */

export function optionError(name: string, expectation: string, value?: unknown): TypeError {
  return new TypeError(
    `Option "${name}" must be ${expectation}${value === undefined ? '' : `, got ${shown(value)}`}`,
  )
}

// Only numbers, booleans and short words are echoed: a longer string may be a secret in the wrong place.
function shown(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value)
  if (typeof value === 'string')
    return value.length <= 16 ? JSON.stringify(value) : `a string of ${value.length} characters`
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}

export function checkKnown(options: object, known: readonly string[], owner: string): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new TypeError(`Unknown option "${name}" of ${owner}; known are ${known.join(', ')}`)
  }
}

export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw optionError(name, 'an object', value)
}

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

export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw optionError(name, 'a function', value)
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
