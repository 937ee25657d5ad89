import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import ts from 'typescript'

export const ROOT = join(import.meta.dirname, '../..')

/** One file of lib/, read and parsed. */
export interface LibraryFile {
  /** Below lib/, with slashes: `store/options.ts`. */
  readonly path: string
  readonly source: string
  readonly tree: ts.SourceFile
}

/** Every source file of lib/. */
export function readLibrary(): LibraryFile[] {
  const folder = join(ROOT, 'lib')
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  return names.sort().map((name) => {
    const path = name.split(sep).join('/')
    return libraryFile(path, readFileSync(join(folder, name), 'utf8'))
  })
}

export function libraryFile(path: string, source: string): LibraryFile {
  return { path, source, tree: ts.createSourceFile(path, source, ts.ScriptTarget.ESNext, true) }
}

/** What a file imports, types and dynamic imports included, as it is written there. */
export function importsOf({ source }: LibraryFile): string[] {
  return ts.preProcessFile(source, true, true).importedFiles.map(({ fileName }) => fileName)
}

/** Every node of a file's syntax tree. */
export function nodesOf({ tree }: LibraryFile): ts.Node[] {
  const nodes: ts.Node[] = []
  const visit = (node: ts.Node): void => {
    nodes.push(node)
    ts.forEachChild(node, visit)
  }
  visit(tree)
  return nodes
}

/** Its comments, each as written. */
export function commentsOf({ source }: LibraryFile): string[] {
  return tokensOf(source)
    .filter(({ kind }) => isComment(kind))
    .map(({ text }) => text)
}

/** How many of its lines have code, not only comments. */
export function codeLinesOf(source: string): number {
  const lines = tokensOf(source)
    .filter(({ kind }) => !isComment(kind))
    .flatMap(({ line, text }) => text.split('\n').map((_, index) => line + index))
  return new Set(lines).size
}

interface Token {
  readonly kind: ts.SyntaxKind
  readonly text: string
  readonly line: number
}

function tokensOf(source: string): Token[] {
  const tree = ts.createSourceFile('tokens.ts', source, ts.ScriptTarget.ESNext, true)
  const tokens: Token[] = []
  const push = (kind: ts.SyntaxKind, from: number, to: number): void => {
    const { line } = tree.getLineAndCharacterOfPosition(from)
    tokens.push({ kind, text: source.slice(from, to), line })
  }
  const visit = (node: ts.Node): void => {
    const comments = ts.getLeadingCommentRanges(source, node.getFullStart()) ?? []
    if (node.getChildCount(tree) > 0) {
      for (const child of node.getChildren(tree)) if (!ts.isJSDoc(child)) visit(child)
    } else {
      for (const { kind, pos, end } of [
        ...comments,
        ...(ts.getTrailingCommentRanges(source, node.end) ?? []),
      ])
        push(kind, pos, end)
      if (node.end > node.getStart(tree)) push(node.kind, node.getStart(tree), node.end)
    }
  }
  visit(tree)
  return tokens
}

function isComment(kind: ts.SyntaxKind): boolean {
  return kind === ts.SyntaxKind.SingleLineCommentTrivia || kind === ts.SyntaxKind.MultiLineCommentTrivia
}
