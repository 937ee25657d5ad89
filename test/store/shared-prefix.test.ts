import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { newUser, signIn, validOf } from '../registry/requests.ts'
import { until } from '../support/until.ts'
import { storeKinds } from './stores.ts'

const secret = () => randomBytes(32).toString('base64url')

/** What a store has told of its prefix. */
function toldBy(store: SessionStore): string[] {
  const told: string[] = []
  store.on('shared-prefix', ({ finding }) => told.push(JSON.stringify(finding)))
  return told
}

const codesOf = async (store: SessionStore) => (await store.check()).map(({ code }) => code)

describe.each(storeKinds())('a prefix $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  function open(place: ReturnType<typeof kind.place>, secrets: readonly string[]) {
    const store = place.over(place.backend(), { secrets: [...secrets] })
    return { store, told: toldBy(store) }
  }

  test('that two apps with other secrets use is told to both, once, by event, warning and check()', async () => {
    const warnings: string[] = []
    const onWarning = ({ name, message }: Error) =>
      void (name === 'SharedPrefixWarning' && warnings.push(message))
    process.on('warning', onWarning)
    onTestFinished(() => void process.off('warning', onWarning))
    const place = kind.place()
    const secrets = [secret(), secret()]
    const [shop, staging] = [open(place, [secrets[0] ?? '']), open(place, [secrets[1] ?? ''])]
    await signIn(shop.store, newUser())
    expect(await codesOf(shop.store)).not.toContain('shared-prefix')

    const sid = await signIn(staging.store, newUser())
    await until(() => staging.told.length > 0)
    await signIn(staging.store, newUser())

    expect(await codesOf(shop.store)).toContain('shared-prefix')
    expect(await codesOf(staging.store)).toContain('shared-prefix')
    await until(() => warnings.length >= 2)
    expect([shop.told.length, staging.told.length, warnings.length]).toEqual([1, 1, 2])
    for (const text of [...shop.told, ...staging.told, ...warnings])
      for (const hidden of [...secrets, sid, staging.store.handle(sid)]) expect(text).not.toContain(hidden)
    expect(await validOf(staging.store, [sid])).toEqual([sid])
  })

  test('is told of by an app that only clears it', async () => {
    const place = kind.place()
    const [shop, staging] = [open(place, [secret()]), open(place, [secret()])]
    await signIn(shop.store, newUser())
    await until(async () => (await place.backend().mark('')).length > 0)

    await staging.store.clear()

    await until(() => staging.told.length > 0)
  })

  test('is one app’s while its secrets rotate', async () => {
    const place = kind.place()
    const [first, second, third] = [secret(), secret(), secret()]
    const rotated = [[first], [first, second], [second, first], [second], [third, second], [third]]
    const stores = rotated.map((secrets) => open(place, secrets))
    for (const { store } of stores) {
      const before = (await place.backend().mark('')).length
      await signIn(store, newUser())
      await until(async () => (await place.backend().mark('')).length > before)
    }

    for (const { store } of stores) expect(await codesOf(store)).not.toContain('shared-prefix')
    expect(stores.flatMap(({ told }) => told)).toEqual([])
  })

  test('of another name is nobody’s business', async () => {
    const [shop, staging] = [open(kind.place(), [secret()]), open(kind.place(), [secret()])]
    for (const { store } of [shop, staging]) await signIn(store, newUser())

    for (const { store } of [shop, staging]) expect(await codesOf(store)).not.toContain('shared-prefix')
  })
})
