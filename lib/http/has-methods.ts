/**
 * Whether a value has these methods. What an app hands in goes by them, not by its class: an app may meet the package
 * both as a module and as CommonJS, with two classes of one name.
 */
export function hasMethods(value: unknown, names: readonly string[]): boolean {
  const members = Object(value) as Readonly<Record<string, unknown>>
  return names.every((name) => typeof members[name] === 'function')
}
