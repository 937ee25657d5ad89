import { beforeAll, describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { browser, POST } from './browser.ts'
import { appSecrets, ownValkey, prepare, start } from './neighbour.ts'

describe.each(['11', '12'])('NestJS %s', (version) => {
  let folder: string
  beforeAll(async () => {
    const packages = ['common', 'core', 'platform-express'].map((name) => `@nestjs/${name}@${version}`)
    folder = await prepare({
      name: `nest-${version}`,
      packages: [...packages, 'reflect-metadata@0.2', 'rxjs@7'],
      app: 'nest.ts',
      heading: 'NestJS',
    })
  })

  test('signs in, lists devices, and signs out everywhere', async () => {
    const { origin } = await start(folder, { ...appSecrets(), VALKEY_URL: (await ownValkey()).url })
    const [phone, laptop] = [browser(origin), browser(origin)]

    expect((await phone('/sign-in/ann', POST)).status).toBe(201)
    expect((await laptop('/sign-in/ann', POST)).status).toBe(201)

    expect(JSON.parse((await phone('/')).body)).toEqual({ userId: 'ann' })
    expect(JSON.parse((await phone('/devices/ann')).body)).toHaveLength(2)
    expect((await phone('/sign-out/ann', POST)).body).toBe('2')
    expect([(await phone('/')).body, (await laptop('/')).body]).toEqual(['{}', '{}'])
  })

  test('answers an outage with 503, Retry-After and nothing of the server, from whatever it comes', async () => {
    const { own, origin, ann } = await signedIn()

    await own.stop()

    const refused = { status: 503, body: expect.not.stringMatching(/127\.0\.0\.1|ECONN|secret/) }
    for (const [visitor, path] of [
      [ann, '/'],
      [browser(origin), '/devices/ann'],
      [browser(origin), '/change'],
    ] as const) {
      const answer = await visitor(path)
      expect([path, answer]).toEqual([path, expect.objectContaining(refused)])
      expect(answer.headers.get('retry-after')).toBe('1')
      expect(answer.headers.getSetCookie()).toEqual([])
    }
  })

  test('sends no Retry-After without the filter of the page', async () => {
    const { own, origin, ann } = await signedIn({ FILTER: 'none' })

    await own.stop()

    for (const answer of [await ann('/'), await browser(origin)('/devices/ann')]) {
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, null])
      expect(JSON.parse(answer.body)).toEqual({ statusCode: 503, message: 'Service Unavailable' })
    }
  })

  test('asked to stop, lets a request save what it changes, and closes the store then', async () => {
    const env = { ...appSecrets(), VALKEY_URL: (await ownValkey()).url }
    const first = await start(folder, env)
    const ann = browser(first.origin)
    await ann('/sign-in/ann', POST)
    const late = ann('/late', POST)
    await until(() => first.output().includes('late begins'))
    expect(first.output()).not.toContain('store closed')

    const exited = first.stop()

    expect((await late).body).toBe('late ends')
    // Nest ends itself by the signal once its hooks have run.
    expect(await exited).toBe(null)
    expect(first.output()).toContain('store closed')
    const second = await start(folder, env)
    expect(JSON.parse((await ann.at(second.origin)('/')).body)).toEqual({ userId: 'ann', late: 'stored' })
  })

  async function signedIn(env: Readonly<Record<string, string>> = {}) {
    const own = await ownValkey()
    const { origin } = await start(folder, { ...appSecrets(), VALKEY_URL: own.url, ...env })
    const ann = browser(origin)
    expect((await ann('/sign-in/ann', POST)).status).toBe(201)
    return { own, origin, ann }
  }
})
