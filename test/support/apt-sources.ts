import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where a Debian or Ubuntu machine fetches its packages, and which release it is. */
export interface AptMachine {
  readonly codename: string
  /** The contents of its `.list` files and of its `.sources` files. */
  readonly lines: readonly string[]
  readonly stanzas: readonly string[]
}

/** The text of a `.list` and of a `.sources` file. */
export interface AptSources {
  readonly list: string
  readonly sources: string
}

/** The machine's own apt settings, or `undefined` where there is no apt. */
export function readAptMachine(root = '/'): AptMachine | undefined {
  const release = join(root, 'etc/os-release')
  if (!existsSync(join(root, 'usr/bin/apt-get')) || !existsSync(release)) return undefined
  const codename = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(readFileSync(release, 'utf8'))?.[1]
  if (codename === undefined) return undefined
  return {
    codename,
    lines: readSources(root, '.list').flatMap((text) => text.split('\n')),
    stanzas: readSources(root, '.sources').flatMap((text) => text.split(/\n\s*\n/)),
  }
}

/**
 * The machine's sources as text for an apt of our own: those that serve its release, and for each of them the
 * backports of that release, from the same place and under the same key.
 */
export function sourcesWithBackports({ codename, lines, stanzas }: AptMachine): AptSources {
  const ofRelease = new RegExp(`(^|\\s)${codename}(-updates|-security|-backports)?(?=\\s|$)`)
  const usedLines = lines.filter((line) => /^\s*deb\s/.test(line) && ofRelease.test(line))
  const usedStanzas = stanzas
    .map(uncommented)
    .filter((stanza) => isInUse(stanza) && ofRelease.test(field(stanza, 'Suites')))
  const backports = `${codename}-backports`
  const main = new RegExp(`(^|\\s)${codename}(?=\\s|$)`)
  const moreLines = usedLines
    .filter((line) => main.test(line))
    .map((line) => line.replace(main, `$1${backports}`))
  const moreStanzas = usedStanzas
    .filter((stanza) => main.test(field(stanza, 'Suites')))
    .map((stanza) => stanza.replace(/^Suites:.*$/im, `Suites: ${backports}`))
  return {
    list: `${[...new Set([...usedLines, ...moreLines])].join('\n')}\n`,
    sources: `${[...new Set([...usedStanzas, ...moreStanzas])].join('\n\n')}\n`,
  }
}

function readSources(root: string, extension: string): string[] {
  const folder = join(root, 'etc/apt/sources.list.d')
  const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []
  return [join(root, 'etc/apt/sources.list'), ...files]
    .filter((file) => file.endsWith(extension) && existsSync(file))
    .map((file) => readFileSync(file, 'utf8'))
}

function uncommented(stanza: string): string {
  const kept = stanza.split('\n').filter((line) => !line.startsWith('#') && line.trim() !== '')
  return kept.join('\n')
}

function isInUse(stanza: string): boolean {
  return /\bdeb(\s|$)/.test(field(stanza, 'Types')) && field(stanza, 'Enabled').trim().toLowerCase() !== 'no'
}

function field(stanza: string, name: string): string {
  return new RegExp(`^${name}:(.*)$`, 'im').exec(stanza)?.[1] ?? ''
}
