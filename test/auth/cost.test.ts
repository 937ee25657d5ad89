import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { wrapRegistry } from '../registry/wrap-registry.ts'
import { createGate } from '../store/gate.ts'
import { InProcessKind, ValkeyKind } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { countCommands } from '../support/valkey.ts'
import { bearer, statefulSite } from './auth-site.ts'

const REQUESTS = 20
const ISSUER = 'https://app.example/auth'
const kind = new ValkeyKind()
let admin: Redis

beforeAll(async () => {
  await kind.start()
  admin = kind.server.client()
})
afterAll(() => kind.stop())

describe('Tokens', () => {
  test('a refresh costs two scripts beside its read', async () => {
    const { signIn, refresh } = await statefulSite({ store: kind.place().open() })
    let { refresh_token: token } = await signIn('alice')
    token = (await refresh(token)).body.refresh_token

    const counts = await countCommands(admin, async () => {
      for (let at = 0; at < REQUESTS; at += 1) token = (await refresh(token)).body.refresh_token
    })

    expect(counts['evalsha']).toBe(2 * REQUESTS)
    expect(Number(token.split('.')[2])).toBe(REQUESTS + 1)
  })

  test('which are sent together', async () => {
    const place = new InProcessKind().place()
    const backend = place.backend()
    const storing = createGate()
    // A fake whose registry replies no sooner than the record is being stored: one after the other, it never would.
    const noting = wrapBackend(backend, {
      put: (handle, write) => {
        storing.open()
        return backend.put(handle, write)
      },
    })
    const together = wrapRegistry(noting, {
      extend: async (owner, extension) => {
        await storing.opened
        return backend.registry.extend(owner, extension)
      },
    })
    const { signIn } = await statefulSite({ issuer: ISSUER, store: place.share() })
    const { refresh } = await statefulSite({ issuer: ISSUER, store: place.over(together) })

    expect((await refresh((await signIn('alice')).refresh_token)).status).toBe(200)
  })

  test('a look whether a session is active costs one read, and one at the token alone nothing', async () => {
    const { signIn, send } = await statefulSite({ store: kind.place().open() })
    const { access_token: token } = await signIn('alice')
    const ask = (path: string) => async () => {
      for (let at = 0; at < REQUESTS; at += 1) expect((await send(path, bearer(token))).status).toBe(200)
    }

    expect(await countCommands(admin, ask('/live'))).toEqual({ getrange: REQUESTS })
    expect(await countCommands(admin, ask('/orders'))).toEqual({})
  })
})
