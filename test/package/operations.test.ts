import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type ValkeyConnection, ValkeyStore } from '../../lib/index.ts'
import { generateSession } from '../store/live-session.ts'
import { SECRET } from '../store/parts-store.ts'
import { startCluster, startValkey, type ValkeyServer } from '../support/valkey.ts'
import { ROOT } from './library.ts'

const page = readFileSync(join(ROOT, 'docs/OPERATIONS.md'), 'utf8')
const valkeyPage = readFileSync(join(ROOT, 'docs/VALKEY.md'), 'utf8')

const aclIn = (text: string) => /^ACL SETUSER [\s\S]*?(?=^```)/m.exec(text)?.[0].trim().split(/\s+/) ?? []
const [, , username = '', ...terms] = aclIn(page)

let server: ValkeyServer

beforeAll(async () => {
  server = await startValkey()
})

afterAll(() => server.stop())

function open(connection: ValkeyConnection): ValkeyStore {
  const store = new ValkeyStore({
    connection: { ...connection, username, password: 'password' },
    secrets: [SECRET],
    connectTimeoutMs: 5000,
    commandTimeoutMs: 5000,
    onUnsafeServer: 'error',
  })
  onTestFinished(() => store.close())
  return store
}

async function useAll(store: ValkeyStore): Promise<void> {
  await store.set('one', generateSession(store, 'one', { content: { userId: 'alice' } }))
  await store.set('two', generateSession(store, 'two', { content: { userId: 'alice' } }))
  expect(await store.get('one')).not.toBeNull()
  expect(await store.registry.count('alice')).toBe(2)
  expect((await store.registry.end({ sid: 'one' })).outcome).toBe('ended')
  expect((await store.registry.endAll('alice')).ended).toHaveLength(1)
  expect(await store.ids()).toEqual([])
}

describe('the ACL in docs/OPERATIONS.md', () => {
  test('is the one in docs/VALKEY.md', () => {
    expect(aclIn(page)).toEqual(aclIn(valkeyPage))
    expect(terms.length).toBeGreaterThan(20)
  })

  test('as it stands there is all that a store needs', async () => {
    await server.client().call('ACL', 'SETUSER', username, ...terms)
    const store = open({ url: server.url })

    await useAll(store)

    const codes = (await store.check()).map(({ code }) => code)
    expect(codes.filter((code) => code.includes('right'))).toEqual([])
  })

  test('with the two more that are named is all that a store on a cluster needs', async () => {
    const cluster = await startCluster({ primaries: 3 })
    onTestFinished(() => cluster.stop())
    const more = /In a cluster add `([^`]+)`/.exec(page)?.[1]?.split(' ') ?? []
    for (const node of cluster.nodes) await node.client().call('ACL', 'SETUSER', username, ...terms, ...more)
    const store = open({ nodes: cluster.primaries.map(({ host, port }) => ({ host, port })) })

    await useAll(store)

    expect(more).toHaveLength(2)
  })
})

test('every code that check() knows has its line in docs/OPERATIONS.md, and every line its code', () => {
  const source = readFileSync(join(ROOT, 'lib/backend/finding.ts'), 'utf8')
  const union = source.slice(source.indexOf('readonly code:'), source.indexOf('readonly severity:'))
  const codes = [...union.matchAll(/\| '([a-z-]+)'/g)].map(([, code]) => code)
  const lines = [...page.matchAll(/^\| `([a-z-]+)` \| (?:error|warning|unknown|info) \|/gm)].map(
    ([, code]) => code,
  )

  expect(codes.length).toBeGreaterThan(10)
  expect(lines.toSorted()).toEqual(codes.toSorted())
})

test('the settings of a server in docs/OPERATIONS.md are taken by one, which has no findings left', async () => {
  const block = /^maxmemory [\s\S]*?(?=^```)/m.exec(page)?.[0] ?? ''
  const settings = block
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  const args = settings.flatMap(([name = '', ...value]) => [`--${name}`, ...value])
  const primary = await startValkey({ args })
  onTestFinished(() => primary.stop())
  const replica = await startValkey({ args: ['--replicaof', '127.0.0.1', String(primary.port)] })
  onTestFinished(() => replica.stop())
  await primary.client().call('ACL', 'SETUSER', username, ...terms)
  const store = open({ url: primary.url })

  await expect
    .poll(async () => (await store.check()).map(({ code }) => code), { timeout: 20_000 })
    .toEqual(['fsync-unknown', 'replicas-unasked'])
  expect(settings).toHaveLength(6)
})
