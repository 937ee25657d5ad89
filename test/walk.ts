// Prints the functions and files that a real call passes through, in order: `npm run walk -- get|set|read|login [--calls]`.
// Copies lib/ with a note at the start of every function, and makes the call over HTTP against a real server.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import express, { type Express } from 'express'
import session from 'express-session'
import ts from 'typescript'
import type { ValkeyStore } from '../lib/store/valkey-store.ts'
import { startValkey } from './support/valkey.ts'

type Library = typeof import('../lib/index.ts')

/** One function that was entered. */
interface Entry {
  readonly file: string
  readonly name: string
}

const ROOT = join(import.meta.dirname, '..')
const COPY = join(ROOT, '.cache/walk/lib')
const WALKS = ['get', 'set', 'read', 'login'] as const
type Walk = (typeof WALKS)[number]

const [, , walk, flag] = process.argv
if (!isWalk(walk)) throw new TypeError(`npm run walk -- ${WALKS.join('|')} [--calls]`)

const entries: Entry[] = []
Object.assign(globalThis, { noteEntry: (file: string, name: string) => entries.push({ file, name }) })
instrument()
const { ValkeyStore: Store } = (await import(join(COPY, 'index.ts'))) as Library
const server = await startValkey()
const store = new Store({ connection: { url: server.url }, secrets: ['a secret of the walk, of 32 bytes'] })
try {
  report(await entriesOf(walk, store))
} finally {
  await store.close()
  await server.stop()
}

function isWalk(name: string | undefined): name is Walk {
  return WALKS.some((known) => known === name)
}

function instrument(): void {
  rmSync(COPY, { recursive: true, force: true })
  mkdirSync(COPY, { recursive: true })
  cpSync(join(ROOT, 'lib'), COPY, { recursive: true })
  for (const path of readdirSync(COPY, { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts')) continue
    const file = join(COPY, path)
    writeFileSync(file, withNotes(path, readFileSync(file, 'utf8')))
  }
}

/** The source with a call at the start of each function that has a body. */
function withNotes(path: string, source: string): string {
  const tree = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true)
  const insertions: { readonly at: number; readonly text: string }[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const note = `noteEntry(${JSON.stringify(path)}, ${JSON.stringify(nameOf(node))})`
      const body = node.body as ts.Block | ts.Expression
      if (ts.isBlock(body)) insertions.push({ at: body.getStart() + 1, text: ` ${note};` })
      else {
        insertions.push({ at: body.getStart(), text: `(${note}, ` })
        insertions.push({ at: body.getEnd(), text: ')' })
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(tree)
  const declared = `declare const noteEntry: (file: string, name: string) => void\n`
  return (
    declared +
    insertions
      .toSorted((one, other) => other.at - one.at)
      .reduce((text, { at, text: added }) => text.slice(0, at) + added + text.slice(at), source)
  )
}

function nameOf(node: ts.SignatureDeclaration): string {
  if (ts.isConstructorDeclaration(node)) return 'constructor'
  if (node.name) return node.name.getText()
  const { parent } = node
  if (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)) return parent.name.getText()
  return '(anonymous)'
}

/** Makes the call once to warm up, and once to note. */
async function entriesOf(name: Walk, store: ValkeyStore): Promise<readonly Entry[]> {
  const app = appOf(store)
  const listening = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => listening.once('listening', resolve))
  const { port } = listening.address() as { readonly port: number }
  const request = async (path: string, cookie = ''): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie } })
    if (!response.ok) throw new Error(`${path} answers ${response.status}`)
    await response.text()
    return response.headers.getSetCookie()[0]?.split(';')[0] ?? cookie
  }
  try {
    await noted(name, store, request)
    return await noted(name, store, request)
  } finally {
    listening.close()
  }
}

async function noted(
  name: Walk,
  store: ValkeyStore,
  request: (path: string, cookie?: string) => Promise<string>,
): Promise<readonly Entry[]> {
  const cookie = await request(name === 'login' ? '/visit' : '/login')
  await request('/read', cookie)
  const sid =
    decodeURIComponent(cookie.split('=')[1] ?? '')
      .slice(2)
      .split('.')[0] ?? ''
  const loaded = await store.get(sid)
  // As express-session does it, but for the request, which these calls do not need.
  const live = loaded && store.createSession({ sessionID: sid } as express.Request, loaded)
  if (live) Object.assign(live, { written: Date.now() })
  entries.length = 0
  if (name === 'get') await store.get(sid)
  else if (name === 'set' && live) await store.set(sid, live)
  else await request(name === 'login' ? '/login' : '/read', cookie)
  return [...entries]
}

function appOf(store: ValkeyStore): Express {
  const app = express()
  app.use(session({ store, secret: 'walk', resave: false, saveUninitialized: false }))
  app.get('/visit', (req, res) => {
    Object.assign(req.session, { visits: 1 })
    res.send('noted')
  })
  app.get('/read', (req, res) => {
    res.json(Object.keys(req.session))
  })
  app.get('/login', (req, res, next) => {
    req.session.regenerate((error) => {
      if (error) return next(error)
      Object.assign(req.session, { userId: 'ann' })
      res.send('signed in')
    })
  })
  return app
}

function report(noted: readonly Entry[]): void {
  const files = new Set(noted.map(({ file }) => file))
  const moves = noted.filter(({ file }, at) => at > 0 && noted[at - 1]?.file !== file).length
  for (const [at, { file, name }] of noted.entries()) {
    if (noted[at - 1]?.file !== file) console.log(file)
    if (flag === '--calls') console.log(`    ${name}`)
  }
  console.log(`${walk}: ${noted.length} function entries, ${files.size} files, ${moves} moves between files`)
}
