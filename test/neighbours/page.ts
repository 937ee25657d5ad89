import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fencesOf } from '../package/code-fences.ts'
import { ROOT } from '../package/library.ts'

const PAGE = 'docs/guide/neighbours.md'

/** The page's code under a heading. */
export function codeOf(heading: string): string {
  const [, section = ''] = readFileSync(join(ROOT, PAGE), 'utf8').split(`\n## ${heading}\n`)
  const fences = fencesOf(PAGE, section.split('\n## ')[0] ?? '')
  if (fences.length === 0) throw new Error(`${PAGE} has no code under "${heading}"`)
  return fences.map(({ code }) => code).join('\n')
}

/** The module that the code under a heading is, with one package in the place of another. */
export function importCodeOf<Module>(heading: string, { from = '', to = '' } = {}): Promise<Module> {
  const folder = join(ROOT, '.cache', 'pages')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${`${heading} ${to}`.toLowerCase().replaceAll(/\W/g, '-')}.ts`)
  writeFileSync(file, codeOf(heading).replaceAll(`from '${from}'`, `from '${to}'`))
  return import(file) as Promise<Module>
}
