import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { forbiddenImports, importCycles, LEAVES, layerOf } from './layers.ts'
import { commentsOf, type LibraryFile, libraryFile, nodesOf, ROOT, readLibrary } from './library.ts'

const MAX_PARAMETERS = 3

const library = readLibrary()

/** The offences of all files in one list, so that a failure shows every path. */
function offences(find: (file: LibraryFile) => string[]): string[] {
  return library.flatMap(find)
}

function nodesOfKind(file: LibraryFile, kind: ts.SyntaxKind): string[] {
  const found = nodesOf(file).filter((node) => node.kind === kind)
  return found.map((node) => place(file, node))
}

function place({ path, tree }: LibraryFile, node: ts.Node): string {
  const { line } = tree.getLineAndCharacterOfPosition(node.getStart(tree))
  return `lib/${path}:${line + 1}`
}

function functionsOf(file: LibraryFile): ts.SignatureDeclaration[] {
  return nodesOf(file).filter((node) => ts.isFunctionLike(node)) as ts.SignatureDeclaration[]
}

/** The words of identifiers, strings and comments, camelCase taken apart; names of packages and of errors left out. */
function wordsOf({ source }: LibraryFile): Set<string> {
  const names = /\bexpress-session(-valkey)?\b|\b[A-Z]\w*Error\b|\bERR_[A-Z_]+\b/g
  const text = source.replace(names, '').replace(/([a-z\d])([A-Z])/g, '$1 $2')
  return new Set(text.toLowerCase().match(/[a-z]+/g))
}

describe('Data flows one way', () => {
  it('so each folder imports only what the table allows', () => {
    expect(offences(forbiddenImports)).toEqual([])
  })

  it('and every file has its place in the table', () => {
    const strays = library
      .map(({ path }) => path)
      .filter((path) => layerOf(path) === undefined && !LEAVES.includes(path))

    expect(strays).toEqual([])
  })

  it('and no two files import each other, on whatever way, types included', () => {
    expect(importCycles(library)).toEqual([])
  })

  it('which is noticed of types, too', () => {
    const files = [
      libraryFile('seal/a.ts', "import type { B } from './b.ts'"),
      libraryFile('seal/b.ts', "import { c } from './c.ts'"),
      libraryFile('seal/c.ts', "export type { A } from './a.ts'"),
    ]

    expect(importCycles(files)).toEqual(['seal/a.ts -> seal/b.ts -> seal/c.ts -> seal/a.ts'])
  })

  it('which the check itself notices when it is broken', () => {
    const wrong = [
      libraryFile('backend/x.ts', "import { a } from '../store/options.ts'"),
      libraryFile('seal/x.ts', "import type { Backend } from '../backend/backend.ts'"),
      libraryFile('store/x.ts', "const a = await import('../backend/valkey/keys.ts')"),
      libraryFile('store/x.ts', "export * from '../index.ts'"),
      libraryFile('store/x.ts', "import { Redis } from 'iovalkey'"),
      libraryFile('http/x.ts', "import { jwtVerify } from 'jose'"),
      libraryFile('errors.ts', "import { inspect } from 'node:util'"),
      libraryFile('new/x.ts', "import { x } from '../seal/sealer.ts'"),
    ]

    expect(wrong.flatMap(forbiddenImports)).toEqual([
      'backend/x.ts -> ../store/options.ts',
      'seal/x.ts -> ../backend/backend.ts',
      'store/x.ts -> ../backend/valkey/keys.ts',
      'store/x.ts -> ../index.ts',
      'store/x.ts -> iovalkey',
      'http/x.ts -> jose',
      'errors.ts -> node:util',
      'new/x.ts -> ../seal/sealer.ts',
    ])
  })

  it('and each layer keeps to its own words', () => {
    const foreign = (file: LibraryFile): string[] => {
      const words = wordsOf(file)
      const used = (layerOf(file.path)?.foreignWords ?? []).filter(
        (word) => words.has(word) || words.has(`${word}s`),
      )
      return used.map((word) => `lib/${file.path} says "${word}"`)
    }

    expect(offences(foreign)).toEqual([])
  })
})

describe('The house rules hold in every file of lib/', () => {
  it('no "any"', () => {
    expect(offences((file) => nodesOfKind(file, ts.SyntaxKind.AnyKeyword))).toEqual([])
  })

  it('no non-null "!"', () => {
    expect(offences((file) => nodesOfKind(file, ts.SyntaxKind.NonNullExpression))).toEqual([])
  })

  it('no suppressed finding', () => {
    const suppressed = (file: LibraryFile): string[] =>
      commentsOf(file)
        .filter((comment) => /@ts-(ignore|expect-error|nocheck)|biome-ignore|eslint-disable/.test(comment))
        .map((comment) => `lib/${file.path}: ${comment}`)

    expect(offences(suppressed)).toEqual([])
  })

  it('named exports only', () => {
    const defaults = (file: LibraryFile): string[] => [
      ...nodesOfKind(file, ts.SyntaxKind.ExportAssignment),
      ...nodesOfKind(file, ts.SyntaxKind.DefaultKeyword).filter(() => /^export default/m.test(file.source)),
    ]

    expect(offences(defaults)).toEqual([])
  })

  it(`no function that demands more than ${MAX_PARAMETERS} arguments`, () => {
    const isDemanded = ({ initializer, questionToken }: ts.ParameterDeclaration): boolean =>
      !initializer && !questionToken
    const wide = (file: LibraryFile): string[] =>
      functionsOf(file)
        .filter(({ parameters }) => parameters.filter(isDemanded).length > MAX_PARAMETERS)
        .map((node) => place(file, node))

    expect(offences(wide)).toEqual([])
  })

  it('no file without its place in docs/ARCHITECTURE.md', () => {
    const map = readFileSync(join(ROOT, 'docs/ARCHITECTURE.md'), 'utf8')
    const named = new Set(map.match(/[\w/.-]+\.ts\b/g)?.flatMap((name) => [name, name.split('/').at(-1)]))
    const unnamed = library.map(({ path }) => path).filter((path) => !named.has(path.split('/').at(-1)))

    expect(unnamed).toEqual([])
  })
})

describe('A comment', () => {
  it('is apart from its comments', () => {
    const file = libraryFile(
      'x.ts',
      "// @ts-ignore\nconst a = '// no' // yes\n/** doc */\nfunction f() {} /* end */",
    )

    expect(commentsOf(file)).toEqual(['// @ts-ignore', '// yes', '/** doc */', '/* end */'])
  })
})
