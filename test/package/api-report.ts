import { join } from 'node:path'
import ts from 'typescript'
import { ROOT } from './library.ts'

/** The entry points of the package, by the name they are imported under. */
const ENTRIES = {
  'express-session-valkey': 'lib/index.ts',
  'express-session-valkey/auth': 'lib/auth/index.ts',
} as const

const INTRODUCTION = `# API

Generated from the published types by \`npm run api\`; a test fails while this page and the types differ. Each name is documented,
with examples, where an editor shows it. The guides in [guide/](guide/) say how the parts are used, [ERRORS.md](ERRORS.md) what to
do about each error.

Every option is read once, when the function is called or the object is made; a wrong or unknown one is a \`TypeError\` that names it.
`

/** One exported name. */
interface Exported {
  readonly name: string
  readonly symbol: ts.Symbol
  readonly declarations: readonly ts.Declaration[]
}

/** Writes docs/API.md from the sources. */
export function renderApi(): string {
  const config = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT)
  const files = Object.values(ENTRIES).map((file) => join(ROOT, file))
  const program = ts.createProgram(files, options)
  const report = new ApiReport(program.getTypeChecker())
  const chapters = Object.entries(ENTRIES).map(([name, file]) => {
    const source = program.getSourceFile(join(ROOT, file))
    if (source === undefined) throw new Error(`${file} cannot be read`)
    return `## \`${name}\`\n\n${report.chapter(source)}`
  })
  return `${INTRODUCTION}\n${chapters.join('\n')}`
}

class ApiReport {
  readonly #checker: ts.TypeChecker

  constructor(checker: ts.TypeChecker) {
    this.#checker = checker
  }

  chapter(source: ts.SourceFile): string {
    const module = this.#checker.getSymbolAtLocation(source)
    if (module === undefined) throw new Error(`${source.fileName} is not a module`)
    const names = this.#checker.getExportsOfModule(module).map((symbol) => this.#exported(symbol))
    names.sort((one, other) => (one.name < other.name ? -1 : 1))
    const isError = ({ declarations }: Exported) => declarations.some(ts.isClassDeclaration)
    const isValue = ({ declarations }: Exported) =>
      declarations.some((node) => ts.isFunctionDeclaration(node) || ts.isVariableDeclaration(node))
    const isOptions = ({ name }: Exported) =>
      /^(?!Safe).*(Options|Config|Timing|Terms|ValkeyConnection)$/.test(name)
    const values = names.filter(isValue)
    const errors = names.filter(isError)
    const types = names.filter((one) => !values.includes(one) && !errors.includes(one))
    return [
      this.#section('Functions and stores', values, (one) => this.#value(one)),
      this.#section('Options', types.filter(isOptions), (one) => this.#options(one)),
      this.#section(
        'Types',
        types.filter((one) => !isOptions(one)),
        (one) => this.#type(one),
      ),
      this.#errors(errors),
    ]
      .filter((section) => section !== '')
      .join('\n')
  }

  #exported(symbol: ts.Symbol): Exported {
    const target = symbol.flags & ts.SymbolFlags.Alias ? this.#checker.getAliasedSymbol(symbol) : symbol
    return { name: symbol.name, symbol: target, declarations: target.declarations ?? [] }
  }

  #section(title: string, names: readonly Exported[], render: (one: Exported) => string): string {
    if (names.length === 0) return ''
    return `### ${title}\n\n${names.map((one) => `#### ${one.name}\n\n${render(one)}`).join('\n')}`
  }

  #value({ name, symbol, declarations }: Exported): string {
    const signatures = declarations.flatMap((node) => {
      if (ts.isFunctionDeclaration(node) && node.body && declarations.length > 1) return []
      if (ts.isFunctionDeclaration(node)) return [`function ${name}${signatureOf(node)}`]
      return ts.isVariableDeclaration(node) ? [`const ${name}: ${textOf(node.type)}`] : []
    })
    return `${fence(signatures.join('\n'))}\n${this.#prose(symbol)}`
  }

  /** Every option, those of the types it is made of included. */
  #options({ symbol, declarations: [declaration] }: Exported): string {
    const type = this.#checker.getDeclaredTypeOfSymbol(symbol)
    if (declaration && ts.isTypeAliasDeclaration(declaration) && /Config$/.test(symbol.name))
      return `${fence(textOf(declaration))}\n${this.#prose(symbol)}`
    const rows = this.#checker.getPropertiesOfType(type).map((property) => this.#option(property))
    const head = '| option | type | unit | default | |\n|---|---|---|---|---|'
    return `${this.#lead(symbol)}${[head, ...rows].join('\n')}\n`
  }

  #option(property: ts.Symbol): string {
    const documentation = this.#documentation(property)
    const given = this.#tag(property, 'defaultValue')
    const isOptional = (property.flags & ts.SymbolFlags.Optional) !== 0
    const standard = given ?? (isOptional ? '' : 'required')
    const unit = unitOf(property.name, documentation)
    return row([`\`${property.name}\``, code(this.#typeOf(property)), unit, standard, documentation])
  }

  #type({ symbol, declarations }: Exported): string {
    const [declaration] = declarations
    if (declaration === undefined) return ''
    if (!ts.isInterfaceDeclaration(declaration))
      return `${fence(textOf(declaration))}\n${this.#prose(symbol)}`
    const bases = declaration.heritageClauses?.flatMap(({ types }) => types.map((base) => textOf(base))) ?? []
    const extending = bases.length === 0 ? '' : `Extends ${bases.map((base) => code(base)).join(', ')}.\n\n`
    const rows = declaration.members.map((member) => this.#member(member))
    return `${this.#lead(symbol)}${extending}| member | |\n|---|---|\n${rows.join('\n')}\n`
  }

  #member(member: ts.TypeElement): string {
    const symbol = member.name && this.#checker.getSymbolAtLocation(member.name)
    const own = ts.getJSDocCommentsAndTags(member).length > 0
    const throws = own
      ? ts
          .getJSDocTags(member)
          .filter(({ tagName }) => tagName.text === 'throws')
          .map((tag) => throwing(oneLine(tag.comment)))
      : []
    const text = symbol && own ? [this.#documentation(symbol), ...throws].join(' ') : ''
    return row([code(textOf(member)), text])
  }

  #errors(errors: readonly Exported[]): string {
    if (errors.length === 0) return ''
    const rows = errors.map(({ name, symbol, declarations: [declaration] }) => {
      const members = declaration && ts.isClassDeclaration(declaration) ? declaration.members : []
      const fields = members
        .filter(ts.isPropertyDeclaration)
        .map((field) => code(textOf(field).replace('override ', '')))
      const codes = /extends \w+<'(\w+)'>/.exec(declaration?.getText() ?? '')
      return row([
        `\`${name}\``,
        codes ? `[\`${codes[1]}\`](ERRORS.md#${codes[1]?.toLowerCase()})` : '',
        fields.join(', '),
        this.#documentation(symbol),
      ])
    })
    return `### Errors\n\n| class | code | fields of its own | |\n|---|---|---|---|\n${rows.join('\n')}\n`
  }

  #lead(symbol: ts.Symbol): string {
    const prose = this.#prose(symbol)
    return prose === '\n' ? '' : `${prose}\n`
  }

  #prose(symbol: ts.Symbol): string {
    const throws = symbol
      .getJsDocTags(this.#checker)
      .filter(({ name }) => name === 'throws')
      .map(({ text }) => throwing(linked(ts.displayPartsToString(text))))
    const paragraphs = [
      linked(ts.displayPartsToString(symbol.getDocumentationComment(this.#checker))),
      ...throws,
    ]
    return `${paragraphs.filter((text) => text !== '').join('\n\n')}\n`
  }

  #documentation(symbol: ts.Symbol): string {
    return oneLine(ts.displayPartsToString(symbol.getDocumentationComment(this.#checker)))
  }

  #tag(symbol: ts.Symbol, wanted: string): string | undefined {
    const tag = symbol.getJsDocTags(this.#checker).find(({ name }) => name === wanted)
    return tag && oneLine(ts.displayPartsToString(tag.text))
  }

  /** As the source has it, without the `undefined` that every optional property accepts. */
  #typeOf(property: ts.Symbol): string {
    const nodes = (property.declarations ?? []).filter(ts.isPropertySignature).map(({ type }) => textOf(type))
    const texts = nodes.filter((text) => text !== 'undefined')
    return (texts[0] ?? 'unknown').replace(/^(\((.*)\)|(.*)) \| undefined$/, '$2$3')
  }
}

function unitOf(name: string, documentation: string): string {
  if (name.endsWith('Ms')) return 'ms'
  if (/bytes$/i.test(name)) return 'bytes'
  return /\bin (seconds|ms|bytes)\b/.exec(documentation)?.[1] ?? ''
}

function signatureOf(node: ts.FunctionDeclaration): string {
  const parameters = node.parameters.map((parameter) => {
    const isOptional = parameter.questionToken ?? parameter.initializer
    const dots = parameter.dotDotDotToken ? '...' : ''
    return `${dots}${parameter.name.getText()}${isOptional ? '?' : ''}: ${textOf(parameter.type)}`
  })
  return `(${parameters.join(', ')}): ${textOf(node.type)}`
}

const printer = ts.createPrinter({ removeComments: true })

/** A node without its comments, on one line unless it is a union. */
function textOf(node: ts.Node | undefined): string {
  if (node === undefined) return 'void'
  const text = printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile())
  return text
    .replace(/^export /, '')
    .replace(/;$/, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll('readonly ', '')
    .replace(/= \| /, '= ')
}

const fence = (text: string) => `\`\`\`tsx\n${text}\n\`\`\`\n`
const code = (text: string) => (text === '' ? '' : `\`${text}\``)
const row = (cells: readonly string[]) =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
const linked = (text: string) => text.replaceAll(/\{@link ([^}]+?) *\}/g, '`$1`')

const throwing = (text: string) => `Throws ${text.trim().replace(/^(\w+(?:, \w+)*)/, '`$1`')}`

function oneLine(comment: string | ts.NodeArray<ts.JSDocComment> | undefined): string {
  const text = typeof comment === 'string' ? comment : ts.getTextOfJSDocComment(comment)
  return linked(text ?? '')
    .replaceAll(/\s+/g, ' ')
    .trim()
}
