import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { commentsOf, ROOT, readLibrary } from './library.ts'

/** A TypeScript example in a page or in a doc comment. */
export interface CodeFence {
  /** The file it is in, below the project's folder. */
  readonly file: string
  /** The line of its opening fence. */
  readonly line: number
  readonly code: string
  /** Packages that only the long suite has, which compiles it then: `ts needs=nest`. */
  readonly needs?: string | undefined
}

/** The TypeScript fences of README, docs/ and examples/, and those of doc comments in lib/. */
export function readCodeFences(): CodeFence[] {
  const pages = ['README.md', 'CHANGELOG.md', ...markdownIn('docs'), ...markdownIn('examples')]
  const inPages = pages.flatMap((page) => fencesOf(page, readFileSync(join(ROOT, page), 'utf8')))
  const inComments = readLibrary().flatMap((file) => {
    const comments = commentsOf(file).filter((comment) => comment.startsWith('/**'))
    return comments.flatMap((comment) => {
      const before = file.source.slice(0, file.source.indexOf(comment)).split('\n').length - 1
      const fences = fencesOf(`lib/${file.path}`, comment.replace(/^[ \t]*\*[ ]?/gm, ''))
      return fences.map((fence) => ({ ...fence, line: fence.line + before }))
    })
  })
  return [...inPages, ...inComments]
}

export function fencesOf(file: string, text: string): CodeFence[] {
  const found = text.matchAll(
    /^(?<indent> *)```(?:ts|typescript)\b(?: needs=(?<needs>[\w-]+))?[^\n]*\n(?<code>.*?)^\k<indent>```/gms,
  )
  return [...found].map((match) => ({
    file,
    line: text.slice(0, match.index).split('\n').length,
    code: match.groups?.['code'] ?? '',
    needs: match.groups?.['needs'],
  }))
}

function markdownIn(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return []
  const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith('.md')).map((name) => `${folder}/${name}`)
}

/** Compiles fences, each as a module of its own that imports the package by its name, under the project's own strictness. */
export class FenceCompiler {
  readonly #options: ts.CompilerOptions
  readonly #host: ts.CompilerHost
  // Parsed and bound once for all fences, each of which is a program: their augmentations must not meet.
  readonly #parsed = new Map<string, ts.SourceFile | undefined>()

  constructor() {
    const config = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
    const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT)
    this.#options = {
      ...options,
      noUnusedLocals: false,
      noUnusedParameters: false,
      skipLibCheck: true,
      paths: {
        'express-session-valkey': [join(ROOT, 'lib/index.ts')],
        'express-session-valkey/auth': [join(ROOT, 'lib/auth/index.ts')],
      },
    }
    this.#host = ts.createCompilerHost(this.#options)
  }

  /** What is wrong with it, each finding as `file:line: message`. */
  findingsOf({ file, line, code }: CodeFence): string[] {
    const name = join(ROOT, `fence-${line}.ts`)
    const tree = ts.createSourceFile(name, code, {
      languageVersion: ts.ScriptTarget.ES2023,
      impliedNodeFormat: ts.ModuleKind.ESNext,
    })
    const program = ts.createProgram([name], this.#options, this.#hostWith(name, tree))
    const found = [
      ...program.getOptionsDiagnostics(),
      ...program.getSyntacticDiagnostics(tree),
      ...program.getSemanticDiagnostics(tree),
    ]
    return found.map(({ messageText, start = 0 }) => {
      const at = line + 1 + tree.getLineAndCharacterOfPosition(start).line
      return `${file}:${at}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
    })
  }

  #hostWith(name: string, tree: ts.SourceFile): ts.CompilerHost {
    const host = this.#host
    return {
      ...host,
      fileExists: (path) => path === name || host.fileExists(path),
      readFile: (path) => (path === name ? tree.text : host.readFile(path)),
      getSourceFile: (path, ...rest) => {
        if (path === name) return tree
        if (!this.#parsed.has(path)) this.#parsed.set(path, host.getSourceFile(path, ...rest))
        return this.#parsed.get(path)
      },
    }
  }
}
