import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { failureOf } from '../store/failure-of.ts'
import { startValkey } from '../support/valkey.ts'
import { PREVIOUS, putKeys, type StoredKey } from './previous-version.ts'

// Written by the version itself, with WRITE_STORED=1 by two-versions.faults.ts.
const stored = JSON.parse(readFileSync(join(import.meta.dirname, 'stored-by-previous.json'), 'utf8')) as {
  readonly commit: string
  readonly secret: string
  readonly sids: Readonly<Record<'phone' | 'laptop' | 'ended', string>>
  readonly keys: readonly StoredKey[]
}

it(`This version reads, changes, lists and ends what ${PREVIOUS} has stored`, async () => {
  const server = await startValkey()
  onTestFinished(() => server.stop())
  await putKeys(server.client(), stored.keys)
  const { phone, laptop, ended } = stored.sids
  const store = new ValkeyStore({
    connection: { url: server.url },
    secrets: [stored.secret],
    encrypt: true,
    onUnsafeServer: 'ignore',
    connectTimeoutMs: 5000,
    commandTimeoutMs: 5000,
  })
  onTestFinished(() => store.close())
  const listed = await store.registry.list('ann', { includeEnded: true })

  expect(stored.commit).toBe(PREVIOUS)
  expect(await store.get(phone)).toMatchObject({ userId: 'ann', device: 'phone' })
  expect(await store.get(ended)).toBeNull()
  expect(listed.map(({ status }) => status)).toEqual(['active', 'active', 'ended'])
  expect(listed.at(-1)).toMatchObject({ handle: store.handle(ended), ending: { reason: 'lost-phone' } })

  const cookie = { originalMaxAge: null }
  await store.set(phone, { cookie, userId: 'ann', device: 'changed' } as never)
  expect(await store.get(phone)).toMatchObject({ device: 'changed' })
  const refused = await failureOf(store.set(ended, { cookie, userId: 'ann' } as never))
  expect(refused).toMatchObject({ code: 'ERR_SESSION_ENDED' })
  expect((await store.registry.endAll('ann')).ended).toHaveLength(2)
  expect(await store.get(laptop)).toBeNull()
})
