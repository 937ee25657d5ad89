import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parser } from '@prometheus-io/lezer-promql'
import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { type Decision, StoreUnavailableError, type ValkeyConnection, ValkeyStore } from '../../lib/index.ts'
import { measuredIn, renderTables } from '../capacity-model.ts'
import { runCli } from '../cli/cli.ts'
import { generateSession } from '../store/live-session.ts'
import { SECRET } from '../store/parts-store.ts'
import { startProgram } from '../support/program.ts'
import { until } from '../support/until.ts'
import { type PlainValkey, plainValkey, startCluster, startValkey } from '../support/valkey.ts'
import { ROOT } from './library.ts'

const TIMEOUT_MS = 120_000
const isLong = inject('suite') === 'long'
const OPS = join(ROOT, 'docs/ops')
const read = (name: string) => readFileSync(join(OPS, name), 'utf8')

interface Rule {
  readonly record?: string
  readonly alert?: string
  readonly expr: string
  readonly annotations?: { readonly summary: string; readonly runbook: string }
}

interface Panel {
  readonly id: number
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets: readonly { readonly expr: string }[]
}

const { groups } = parse(read('prometheus-rules.yaml')) as { groups: { name: string; rules: Rule[] }[] }
const rules = groups.flatMap((group) => group.rules)
const dashboard = JSON.parse(read('grafana-dashboard.json')) as { uid: string; panels: Panel[] }

/** What an expression asks for: metrics, and the labels that it matches or groups by, with the values. */
function queried(expression: string) {
  const expr = expression.replaceAll('$instance', 'all')
  const metrics: string[] = []
  const labels: { readonly name: string; readonly value: string | undefined }[] = []
  const errors: string[] = []
  parser.parse(expr).iterate({
    enter({ type, from, to, node }) {
      if (type.isError) errors.push(`${from}: ${expr}`)
      if (type.name === 'Identifier') metrics.push(expr.slice(from, to))
      if (type.name !== 'LabelName') return
      const literal = node.parent?.getChild('StringLiteral')
      const value = literal ? expr.slice(literal.from + 1, literal.to - 1) : undefined
      labels.push({ name: expr.slice(from, to), value })
    },
  })
  return { metrics, labels, errors }
}

describe('The rules and the dashboard', () => {
  const expressions = [
    ...rules.map(({ expr }) => expr),
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ]
  const queries = expressions.map(queried)

  let valkey: PlainValkey
  let exposition: string
  beforeAll(async () => {
    valkey = await plainValkey()
    const env = {
      VALKEY_URL: valkey.url,
      SESSION_KEY: randomBytes(32).toString('hex'),
      COOKIE_SECRET: 'keyboard cat',
    }
    const program = await startProgram('examples/11-metrics.ts', env)
    try {
      const response = await fetch(program.origin)
      const cookie = response.headers.getSetCookie()[0]?.split(';')[0] ?? ''
      await fetch(`${program.origin}/sign-out`, { headers: { cookie } })
      // The server tells the store of the ending in its own time.
      await until(
        async () => {
          exposition = await (await fetch(`${program.origin}/metrics`)).text()
          return exposition.includes('session_decisions_total{')
        },
        { what: 'a decision is counted' },
      )
    } finally {
      await program.stop()
    }
  })
  afterAll(() => valkey.stop())

  test('are PromQL', () => {
    expect(queries.flatMap(({ errors }) => errors)).toEqual([])
    expect(expressions.length).toBeGreaterThan(20)
  })

  test('ask for metrics and labels that the example has, or that a rule before them makes', () => {
    const exposed = [...exposition.matchAll(/^([a-z_]+)(?=[{ ])/gm)].map(([, name]) => name)
    const labelled = [...exposition.matchAll(/([a-z]+)="/g)].map(([, name]) => name)
    const known = new Set([...exposed, ...rules.map(({ record }) => record)])
    // A Prometheus adds the name of the process it asks.
    const labels = new Set([...labelled, 'instance'])

    expect(queries.flatMap(({ metrics }) => metrics).filter((name) => !known.has(name))).toEqual([])
    expect(queries.flatMap((query) => query.labels).filter(({ name }) => !labels.has(name))).toEqual([])
    expect(exposed).toContain('session_operation_seconds_bucket')
    expect(exposed).toContain('session_decisions_total')
  })

  test('name codes, decisions, reasons and states that there are', () => {
    const source = readFileSync(join(ROOT, 'lib/errors.ts'), 'utf8')
    const codes = [...source.matchAll(/\bERR_[A-Z_]+/g)].map(([code]) => code)
    const guide = readFileSync(join(ROOT, 'docs/guide/observability.md'), 'utf8')
    const reasons = readFileSync(join(ROOT, 'docs/ERRORS.md'), 'utf8')
    const states: readonly Extract<Decision, { decision: 'breaker' }>['state'][] = [
      'open',
      'closed',
      'half-open',
    ]
    const isKnown: Record<string, (value: string) => boolean> = {
      outcome: (value) => value === 'ok' || codes.includes(value),
      decision: (value) => guide.includes(`\`${value}\``),
      reason: (value) => reasons.includes(`| \`${value}\``),
      state: (value) => states.some((state) => state === value),
    }
    const values = queries.flatMap((query) =>
      query.labels.flatMap(({ name, value }) => (value?.split('|') ?? []).map((one) => [name, one] as const)),
    )
    const unknown = values.filter(([name, value]) => isKnown[name]?.(value) === false)

    expect(unknown).toEqual([])
    expect(values.length).toBeGreaterThan(20)
  })

  test('say what to do: every alert has a summary and a page that exists', () => {
    const alerts = rules.filter(({ alert }) => alert !== undefined)
    const pages = alerts.map(({ annotations }) => annotations?.runbook ?? '')
    const headings = (page: string) =>
      [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, text = '']) =>
        text
          .toLowerCase()
          .replaceAll(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      )
    const broken = pages.filter((page) => {
      const [file = '', anchor] = page.split('#')
      return anchor !== undefined && !headings(file).includes(anchor)
    })

    expect(alerts.length).toBeGreaterThan(8)
    expect(alerts.filter(({ annotations }) => !annotations?.summary)).toEqual([])
    expect(broken).toEqual([])
  })

  test('are a dashboard of panels with ids of their own, none over another', () => {
    const { panels } = dashboard
    const overlaps = panels.flatMap((one, at) =>
      panels.slice(at + 1).filter((other) => isOver(one.gridPos, other.gridPos)),
    )

    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([])
    expect(overlaps).toEqual([])
  })
})

function isOver(one: Panel['gridPos'], other: Panel['gridPos']): boolean {
  const isBeside = one.x + one.w <= other.x || other.x + other.w <= one.x
  return !isBeside && one.y < other.y + other.h && other.y < one.y + one.h
}

interface Service {
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

function servicesIn(file: string): Readonly<Record<string, Service>> {
  const { services } = parse(read(file), { merge: true }) as { services: Record<string, Service> }
  return services
}

const PASSWORDS = { PASSWORD: 'app-password', REPLICA_PASSWORD: 'replica', SENTINEL_PASSWORD: 'sentinel' }

/** The file as an operator has filled it in. */
function filledIn(text: string): string {
  return Object.entries(PASSWORDS).reduce(
    (filled, [name, password]) => filled.replaceAll(new RegExp(`(?<=[ >])${name}\\b`, 'g'), password),
    text,
  )
}

function aclfile(name: string, edit: (text: string) => string = (text) => text): string {
  const folder = mkdtempSync(join(tmpdir(), 'ops-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, name)
  writeFileSync(path, edit(filledIn(read(name))))
  return path
}

/** A server's arguments in a command of a compose file, without what only a container has: its port and its paths. */
function serverArgs(words: readonly string[], acl: string): string[] {
  const settings = words.slice(words.indexOf('--bind') === 1 ? 3 : 1)
  const pairs = settings.flatMap((word, at) =>
    word.startsWith('--') ? [[word, settings[at + 1] ?? '']] : [],
  )
  return pairs
    .filter(([name]) => name !== '--port' && name !== '--replicaof')
    .flatMap(([name = '', value = '']) => [
      name,
      filledIn(` ${value}`.replace('/etc/valkey/users.acl', acl)).trim(),
    ])
}

async function useAll(connection: ValkeyConnection): Promise<void> {
  const store = new ValkeyStore({
    connection: { ...connection, username: 'app', password: PASSWORDS.PASSWORD },
    secrets: [SECRET],
    connectTimeoutMs: 5000,
    commandTimeoutMs: 5000,
    onUnsafeServer: 'error',
  })
  onTestFinished(() => store.close())
  const sid = randomBytes(24).toString('base64url')
  const signIn = async () => {
    try {
      await store.set(sid, generateSession(store, sid, { content: { userId: 'ann' } }))
      return true
    } catch (error) {
      // Just after a failover no replica follows yet.
      if (error instanceof StoreUnavailableError) return false
      throw error
    }
  }
  await until(signIn, { withinMs: 60_000 })
  expect(await store.registry.count('ann')).toBe(1)
  expect((await store.registry.endAll('ann')).ended).toHaveLength(1)
  const errors = (await store.check()).filter(({ severity }) => severity === 'error')
  expect(errors).toEqual([])
}

describe('The ACL files', () => {
  test.each([
    ['users.acl', []],
    ['users-cluster.acl', ['--cluster']],
  ])('%s has the line that "acl" prints', async (name, flags) => {
    const { stdout } = await runCli(['acl', '--form', 'aclfile', ...flags])

    expect(read(name).split('\n')).toContain(stdout.trim())
  })
})

describe('The compose files start servers that fit', () => {
  test('one', { timeout: TIMEOUT_MS }, async () => {
    const { valkey } = servicesIn('compose.yaml')
    const acl = aclfile('users.acl')
    const server = await startValkey({ args: serverArgs(valkey?.command ?? [], acl) })
    onTestFinished(() => server.stop())

    await useAll({ url: server.url })
    await expect(server.client().get('a')).rejects.toThrow('NOAUTH')
  })

  // A primary that was replaced becomes a replica only some seconds later, and until then writes are refused.
  test(isLong ? 'Sentinel, which fails over' : 'Sentinel', { timeout: TIMEOUT_MS }, async () => {
    const services = servicesIn('compose-sentinel.yaml')
    const acl = aclfile('users.acl')
    const replicaof = ['--replicaof', '127.0.0.1']
    const primary = await startValkey({ args: serverArgs(services['primary']?.command ?? [], acl) })
    onTestFinished(() => primary.stop())
    const replicaArgs = serverArgs(services['replica']?.command ?? [], acl)
    const replica = await startValkey({ args: [...replicaArgs, ...replicaof, String(primary.port)] })
    onTestFinished(() => replica.stop())
    const script = services['sentinel-1']?.command.at(-1) ?? ''
    const config = /<<END\n([\s\S]*?)\n\s*END/.exec(script)?.[1]?.replaceAll(/^ +/gm, '') ?? ''
    const sentinels = await Promise.all(
      [1, 2, 3].map(() =>
        startValkey({
          config: `${filledIn(config).replace(' 6379 ', ` ${primary.port} `)}\n`,
          args: ['--sentinel'],
        }),
      ),
    )
    for (const sentinel of sentinels) onTestFinished(() => sentinel.stop())
    const admins = sentinels.map((sentinel) => sentinel.client())
    const factOf = async (admin: Redis, name: string) => {
      const facts = (await admin.call('sentinel', 'master', 'main')) as string[]
      return facts[facts.indexOf(name) + 1]
    }
    const [first] = admins as [Redis]
    const addresses = sentinels.map(({ host, port }) => ({ host, port }))

    await until(
      async () => {
        const found = await Promise.all(
          admins.map(async (admin) => [
            await factOf(admin, 'num-slaves'),
            await factOf(admin, 'num-other-sentinels'),
          ]),
        )
        return found.every(([slaves, others]) => slaves === '1' && others === '2')
      },
      { withinMs: 60_000, everyMs: 50 },
    )
    await useAll({ sentinels: addresses, sentinelName: 'main' })
    if (!isLong) return
    await first.call('sentinel', 'failover', 'main')
    await until(async () => (await factOf(first, 'port')) === String(replica.port), {
      withinMs: 60_000,
      everyMs: 50,
    })
    await useAll({ sentinels: addresses, sentinelName: 'main' })
  })

  test('a cluster', { timeout: TIMEOUT_MS }, async () => {
    const services = servicesIn('compose-cluster.yaml')
    const words = (services['node-7001']?.command.at(-1) ?? '').replace(/^exec /, '').split(/\s+/)
    // The harness joins the nodes as the default user.
    const acl = aclfile('users-cluster.acl', (text) => text.replace('user default off\n', ''))
    const cluster = await startCluster({ primaries: 3, replicas: 1, args: serverArgs(words, acl) })
    onTestFinished(() => cluster.stop())

    expect(Object.keys(services)).toHaveLength(7)
    await useAll({ nodes: cluster.nodes.map(({ host, port }) => ({ host, port })) })
  })
})

test('docs/ops/capacity.md has the tables that follow from its figures', () => {
  const page = read('capacity.md')
  const [, tables] = /<!-- capacity -->\n([\s\S]*?)\n<!-- \/capacity -->/.exec(page) ?? []

  expect(tables).toBe(renderTables(measuredIn(page)))
})
