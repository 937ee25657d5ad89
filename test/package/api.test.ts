import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { renderApi } from './api-report.ts'
import { ROOT } from './library.ts'
import { renderOptions } from './options-table.ts'

const page = renderApi()

it('docs/API.md is what the published types say; `npm run api` writes it', () => {
  expect(readFileSync(join(ROOT, 'docs/API.md'), 'utf8')).toBe(page)
})

// Third person, as in "Returns the session".
const VERB = /^[A-Z][a-z]*s\b(?! of\b)/

it('docs/API.md begins the text of each function with a verb, and says what it throws', () => {
  const blocks = page.matchAll(
    /^#### (\w+)\n\n```tsx\n(?:function|const) [\s\S]*?```\n\n([\s\S]*?)(?=^###|(?![\s\S]))/gm,
  )
  const functions = [...blocks].map(([, name = '', text = '']) => ({ name, text }))
  const calls = [...page.matchAll(/^\| `(\w+)\??\(.*\)[^|]*` \| (.*) \|$/gm)]
    .map(([, name = '', text = '']) => ({ name, text }))
    // Of overloads the first one has the text.
    .filter(({ text }) => text !== '')

  expect(functions.length).toBeGreaterThan(15)
  expect(calls.length).toBeGreaterThan(30)
  expect([...functions, ...calls].filter(({ text }) => !VERB.test(text)).map(({ name }) => name)).toEqual([])
  expect(functions.filter(({ text }) => !/^Throws /m.test(text)).map(({ name }) => name)).toEqual([
    'isSessionStoreError',
  ])
})

it('docs/API.md says of each error class when it is raised', () => {
  const errors = [...page.matchAll(/^\| `(\w+Error)` \| .* \| (.*) \|$/gm)]

  expect(errors.length).toBeGreaterThan(25)
  expect(errors.filter(([, , text = '']) => text.length < 20).map(([, name]) => name)).toEqual([])
})

it('docs/API.md has a text and a default for every option of the store and its middlewares', () => {
  const [main = ''] = page.split('## `express-session-valkey/auth`')
  const rows = main.match(/^\| `\w+` \|.*\|$/gm) ?? []
  const options = rows
    .map((text) => text.split(/(?<!\\)\|/).map((cell) => cell.trim()))
    .filter((cells) => cells.length === 7)
  const bare = options.filter(([, , , , standard, text]) => text === '' || standard === '')

  expect(options.length).toBeGreaterThan(60)
  expect(bare.map(([, name]) => name)).toEqual([])
})

it('docs/OPTIONS.md has every option of docs/API.md, with what takes it; `npm run api` writes it', () => {
  const table = renderOptions(page)
  const named = [...table.matchAll(/^\| `([\w.]+)` \| ([^|]+) \|/gm)]
  const options = new Set(named.flatMap(([, name = '']) => name.split('.')))
  const missing = (page.match(/^\| `\w+` \|.*\|$/gm) ?? [])
    .map((text) => text.split(/(?<!\\)\|/))
    .filter((cells) => cells.length === 7)
    .map(([, name = '']) => name.trim().slice(1, -1))
    .filter((name) => !options.has(name))

  expect(readFileSync(join(ROOT, 'docs/OPTIONS.md'), 'utf8')).toBe(table)
  expect(missing).toEqual([])
  for (const taker of ['ValkeyStore', 'sessionGuard', 'createAuthRouter', 'endAll'])
    expect(named.some(([, , takers = '']) => takers.includes(`\`${taker}\``))).toBe(true)
})
