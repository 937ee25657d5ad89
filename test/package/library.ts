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
export function commentsOf({ source, tree }: LibraryFile): string[] {
  const ranges = new Map<number, number>()
  const visit = (node: ts.Node): void => {
    const comments = [
      ...(ts.getLeadingCommentRanges(source, node.getFullStart()) ?? []),
      ...(ts.getTrailingCommentRanges(source, node.end) ?? []),
    ]
    for (const { pos, end } of comments) ranges.set(pos, end)
    for (const child of node.getChildren(tree)) if (!ts.isJSDoc(child)) visit(child)
  }
  visit(tree)
  return [...ranges].sort(([one], [other]) => one - other).map(([pos, end]) => source.slice(pos, end))
}
