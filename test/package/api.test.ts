import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { renderApi } from './api-report.ts'
import { ROOT } from './library.ts'

const page = renderApi()

it('docs/API.md is what the published types say; `npm run api` writes it', () => {
  expect(readFileSync(join(ROOT, 'docs/API.md'), 'utf8')).toBe(page)
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
