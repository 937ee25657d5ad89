import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'
import { startValkey } from '../support/valkey.ts'
import { ROOT } from './library.ts'
import { type LocalRegistry, startLocalRegistry } from './local-registry.ts'
import { packPackage } from './package-tarball.ts'

const TIMEOUT_MS = 280_000

/** The blocks of each chapter, in the order in which a reader pastes them. */
function chapters(): ReadonlyMap<string, readonly Block[]> {
  const page = readFileSync(join(ROOT, 'docs/guide/tutorial.md'), 'utf8')
  const parts = page.split(/^## /m).slice(1)
  return new Map(
    parts.map((part) => {
      const [title = ''] = part.split('\n', 1)
      const found = part.matchAll(/^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm)
      return [title, [...found].map(([, language = '', text = '']) => ({ language, text }))]
    }),
  )
}

interface Block {
  readonly language: string
  readonly text: string
}

let folder: string
let registry: LocalRegistry
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tutorial-'))
  registry = await startLocalRegistry((await packPackage(folder)).path)
}, TIMEOUT_MS)
afterAll(async () => {
  await registry?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A reader's terminals: one runs the app, one everything else; both see what was exported. */
class Reader {
  readonly #home: string
  readonly #port: number
  readonly #replacements: [from: string, to: string][] = []
  #cwd: string
  #env: Record<string, string | undefined>

  constructor(home: string, port: number) {
    this.#home = home
    this.#port = port
    this.#cwd = home
    this.#env = {
      PATH: process.env['PATH'],
      HOME: home,
      PORT: String(port),
      npm_config_registry: registry.url,
      npm_config_cache: join(folder, 'cache'),
      npm_config_update_notifier: 'false',
    }
    this.replace(':3000', `:${port}`)
  }

  /** Ports are of the test's own choosing. */
  replace(from: string, to: string): void {
    this.#replacements.push([from, to])
  }

  get #origin(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.#cwd, name), text)
  }

  #pasted(text: string): string {
    return this.#replacements.reduce((replaced, [from, to]) => replaced.replaceAll(from, to), text)
  }

  /** Pastes a block into the terminal; answers what it prints. */
  async paste({ text }: Block): Promise<string> {
    const state = join(this.#home, 'state')
    const script = `set -e\n${this.#pasted(text)}\n{ pwd; env; } > "${state}"`
    const options = { cwd: this.#cwd, env: this.#env }
    const { stdout } = await promisify(execFile)('bash', ['-c', script], options)
    const [cwd = '', ...lines] = readFileSync(state, 'utf8').trimEnd().split('\n')
    this.#cwd = cwd
    this.#env = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2) as [string, string]))
    return stdout
  }

  /** Pastes a block that goes on, until it says that it listens; answers what ends it. */
  async start({ text }: Block): Promise<() => Promise<void>> {
    // A group of its own: npx starts the app through others.
    const child = spawn('bash', ['-c', this.#pasted(text)], {
      cwd: this.#cwd,
      env: this.#env,
      detached: true,
    })
    const exited = once(child, 'close')
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString()
      })
    const stop = async () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM')
      await exited
    }
    await until(() => output.includes(this.#origin) || child.exitCode !== null, { withinMs: 120_000 })
    if (!output.includes(`Listening on ${this.#origin}`)) {
      await stop()
      throw new Error(`It does not listen:\n${output}`)
    }
    return stop
  }
}

/** The lines behind the last import. */
function belowImports(code: string, lines: string): string {
  const at = code.lastIndexOf('\nimport ')
  const end = code.indexOf('\n', at + 1) + 1
  return `${code.slice(0, end)}\n${lines}${code.slice(end)}`
}

describe.each(['JavaScript', 'TypeScript'])('The first hour in %s', (language) => {
  it('ends where the page says, when each of its blocks is pasted', { timeout: TIMEOUT_MS }, async () => {
    const page = chapters()
    const blocks = (title: string) => page.get(title) ?? []
    const isTypeScript = language === 'TypeScript'
    const home = join(folder, language)
    mkdirSync(home)
    const reader = new Reader(home, await freePort())
    const valkey = await startValkey()
    onTestFinished(() => valkey.stop())
    reader.replace(':6379', `:${valkey.port}`)
    const said = async (block: Block | undefined, expected?: Block) => {
      const printed = await reader.paste(block ?? { language: 'sh', text: 'false' })
      if (expected) expect(printed.trim()).toBe(expected.text.trim())
      return printed
    }

    const [install, installTypes] = blocks('An empty folder')
    await said(install)
    if (isTypeScript) await said(installTypes)

    const [app, declaration, startJs, startTs, signIn, signedIn] = blocks('Sign in')
    const name = isTypeScript ? 'app.ts' : 'app.js'
    const code = isTypeScript ? belowImports(app?.text ?? '', declaration?.text ?? '') : (app?.text ?? '')
    const start = (isTypeScript ? startTs : startJs) as Block
    reader.write(name, code)
    let stop = await reader.start(start)
    onTestFinished(() => stop())
    await said(signIn, signedIn)

    const [devices, fourth, evicted] = blocks('Three devices')
    const listed = await said(devices)
    for (const device of ['phone', 'laptop', 'tablet']) expect(listed).toContain(`"userAgent":"${device}"`)
    await said(fourth, evicted)

    const [everywhere] = blocks('Sign out everywhere')
    expect((await said(everywhere)).trim()).toMatch(/}\n401\n401$/)
    await stop()

    const [onValkey, secrets, again, there, restarted, counted] = blocks('On Valkey')
    const store = /^const store = [\s\S]*?^}\)\n/m
    const moved = code
      .replace('InProcessStore, sessionAdmin', 'sessionAdmin')
      .replace('sessionGuard }', 'sessionGuard, ValkeyStore }')
    reader.write(
      name,
      moved.replace(store, () => onValkey?.text ?? ''),
    )
    expect(await said(secrets)).toContain('append-only-off')
    stop = await reader.start(start)
    await said(again, there)
    await stop()
    stop = await reader.start(start)
    await said(restarted, counted)

    const [asked, answered] = blocks('A killed server')
    await valkey.kill()
    await said(asked, answered)
    await stop()
  })
})
