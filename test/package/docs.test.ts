import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type CodeFence, FenceCompiler, fencesOf, readCodeFences } from './code-fences.ts'
import { ROOT } from './library.ts'

const compiler = new FenceCompiler()
// test/neighbours compiles the others beside what they need.
const fences = readCodeFences().filter(({ needs }) => needs === undefined)

function fence(code: string): CodeFence {
  return { file: 'page.md', line: 10, code }
}

describe('docs/ERRORS.md', () => {
  it('has a heading for every error code, and for no other', () => {
    const codes = ['lib/errors.ts', 'lib/auth/auth-errors.ts'].flatMap(
      (file) => readFileSync(join(ROOT, file), 'utf8').match(/\bERR_[A-Z_]+/g) ?? [],
    )
    const page = readFileSync(join(ROOT, 'docs/ERRORS.md'), 'utf8')
    const headings = [...page.matchAll(/^## `?(ERR_[A-Z_]+)`?\s*$/gm)].map(([, code]) => code)

    expect(headings.sort()).toEqual([...new Set(codes)].sort())
    expect(headings.length).toBeGreaterThan(10)
  })
})

describe('docs/README.md', () => {
  it('links every page, once', () => {
    const index = readFileSync(join(ROOT, 'docs/README.md'), 'utf8')
    const linked = [...index.matchAll(/\]\(([\w/-]+\.md)\)/g)].map(([, page]) => page)
    const pages = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })

    expect(linked.sort()).toEqual(pages.filter((page) => page.endsWith('.md') && page !== 'README.md').sort())
    expect(linked).toContain('guide/cli.md')
  })
})

describe('README.md', () => {
  const page = readFileSync(join(ROOT, 'README.md'), 'utf8')

  it('links each yes of the comparison to a test that exists', () => {
    const table = page.slice(page.indexOf('## Beside others'), page.indexOf('## Coming from connect-redis'))
    const ours = table
      .split('\n')
      .filter((line) => line.startsWith('| ') && !line.startsWith('| |'))
      .map((line) => line.split(' | ')[1] ?? '')
    const missing = ours.filter((cell) => {
      const [, file = '', title = ''] = /^\[yes\]\((test\/[\w/-]+\.test\.ts) "(.+)"\)$/.exec(cell) ?? []
      return !existsSync(join(ROOT, file)) || !readFileSync(join(ROOT, file), 'utf8').includes(title)
    })

    expect(missing).toEqual([])
    expect(ours.length).toBeGreaterThan(15)
  })

  it('shows pictures that exist', () => {
    const pictures = [...page.matchAll(/!\[.+?\]\(([^)\s]+)\)/g)].map(([, file = '']) => file)

    expect(pictures.filter((file) => !existsSync(join(ROOT, file)))).toEqual([])
    expect(pictures.length).toBeGreaterThan(1)
  })
})

describe('Every TypeScript example compiles', () => {
  const files = [...new Set(fences.map(({ file }) => file))].sort()

  it.each(files)('in %s', (name) => {
    const findings = fences
      .filter(({ file }) => file === name)
      .flatMap((example) => compiler.findingsOf(example))

    expect(findings).toEqual([])
  })

  it('in README and in doc comments too', () => {
    expect(files).toContain('README.md')
    expect(files.some((file) => file.startsWith('lib/'))).toBe(true)
  })
})

describe('The check of examples', () => {
  it('finds the fences of a page, with their lines', () => {
    const page = 'Text\n\n```ts\nconst a = 1\n```\n\n```sh\nls\n```\n- item\n  ```ts\n  const b = 2\n  ```\n'

    expect(fencesOf('page.md', page)).toEqual([
      { file: 'page.md', line: 3, code: 'const a = 1\n' },
      { file: 'page.md', line: 11, code: '  const b = 2\n' },
    ])
  })

  it('reports what does not compile where it stands', () => {
    const findings = compiler.findingsOf(
      fence("import { InProcessStore } from 'express-session-valkey'\n\nnew InProcessStore({ ttl: 'x' })\n"),
    )

    expect(findings).toEqual([expect.stringMatching(/^page\.md:13: .*string/)])
  })

  it('reports a name the package does not have, and code that cannot be parsed', () => {
    expect(compiler.findingsOf(fence("import { Missing } from 'express-session-valkey'\n"))).toHaveLength(1)
    expect(compiler.findingsOf(fence('const = 1\n'))).not.toEqual([])
  })

  it('keeps each example apart from the others', () => {
    const augmenting = (type: string): CodeFence =>
      fence(
        `import 'express-session'\n\ndeclare module 'express-session' {\n  interface SessionData {\n    same?: ${type}\n  }\n}\n`,
      )

    expect([
      ...compiler.findingsOf(augmenting('string')),
      ...compiler.findingsOf(augmenting('number')),
    ]).toEqual([])
  })
})
