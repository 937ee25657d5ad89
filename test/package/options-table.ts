const INTRODUCTION = `# Options

Every option of every function and method, sorted by name. Generated from [API.md](API.md) by \`npm run api\`; a test fails while the two
differ. A group of options that is itself the value of an option is listed under that option's name, as \`connection.url\`.
The methods \`adopt\` and \`commit\` have one option each, which API.md shows.
`

/** The options of one type, as docs/API.md has them. */
interface OptionType {
  readonly name: string
  readonly rows: readonly string[][]
}

/** Writes docs/OPTIONS.md from docs/API.md: one table of every option, with what takes it. */
export function renderOptions(api: string): string {
  const types = optionTypes(api)
  const takers = new Map(types.map(({ name }) => [name, takersOf(name, api, types)]))
  const rows = types.flatMap(({ name, rows: options }) =>
    (takers.get(name) ?? []).flatMap((taker) =>
      options.map(([option = '', ...cells]) => ({
        option: `${taker.prefix}${option}`,
        cells: [taker.name, ...cells],
      })),
    ),
  )
  const merged = new Map<string, { option: string; takers: string[]; rest: string[] }>()
  for (const { option, cells } of rows) {
    const [taker = '', ...rest] = cells
    const key = JSON.stringify([option, rest])
    const known = merged.get(key) ?? { option, takers: [], rest }
    if (!known.takers.includes(taker)) known.takers.push(taker)
    merged.set(key, known)
  }
  const lines = [...merged.values()]
    .sort((one, other) => (one.option.toLowerCase() < other.option.toLowerCase() ? -1 : 1))
    .map(
      ({ option, takers: names, rest }) =>
        `| \`${option}\` | ${names.sort().join(', ')} | ${rest.join(' | ')} |`,
    )
  return `${INTRODUCTION}\n| option | of | type | unit | default | |\n|---|---|---|---|---|---|\n${lines.join('\n')}\n`
}

/** The types whose members are options: those that docs/API.md shows with units and defaults. */
function optionTypes(api: string): OptionType[] {
  return api.split(/^#### /m).flatMap((part) => {
    const [name = ''] = part.split('\n', 1)
    if (!part.includes('| option | type | unit | default | |')) return []
    const rows = [...part.matchAll(/^\| `(\w+)` \|(.*)\|$/gm)].map(([, option = '', rest = '']) => [
      option,
      ...rest.split(/(?<!\\)\|/).map((cell) => cell.trim()),
    ])
    return [{ name, rows }]
  })
}

interface Taker {
  readonly name: string
  /** Where in the taker's options: `connection.` */
  readonly prefix: string
}

/** What takes options of that type: a function or a method by its signature, or an option of another type. */
function takersOf(type: string, api: string, types: readonly OptionType[]): Taker[] {
  const isNamed = (text: string) => new RegExp(`\\b${type}\\b`).test(text)
  const found = new Map<string, Taker>()
  const add = (name: string, prefix = '') => found.set(`${prefix}${name}`, { name: `\`${name}\``, prefix })
  for (const [, name = '', rest = ''] of api.matchAll(/^(?:function|const) (\w+)(.*)$/gm))
    if (isNamed(rest)) add(name)
  for (const [, name = '', rest = ''] of api.matchAll(/^\| `(\w+)(?:<[^`]*?>)?(\([^`]*)`/gm))
    if (isNamed(rest)) add(name)
  // A union by configuration takes the options of each of its members.
  for (const [, config = '', union = ''] of api.matchAll(/^type (\w+Config) = (.*)$/gm))
    if (isNamed(union)) for (const taker of takersOf(config, api, types)) found.set(taker.name, taker)
  for (const { name, rows } of types)
    for (const [option = '', optionType = ''] of rows)
      if (name !== type && isNamed(optionType) && /^`\w+( \| \w+)*`$/.test(optionType))
        for (const taker of takersOf(name, api, types))
          found.set(`${taker.prefix}${option}${taker.name}`, {
            name: taker.name,
            prefix: `${taker.prefix}${option}.`,
          })
  // What no function takes is listed under its own name.
  return found.size === 0 ? [{ name: `\`${type}\``, prefix: '' }] : [...found.values()]
}
