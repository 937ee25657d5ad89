import { beforeAll, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { browser, POST } from './browser.ts'
import { appSecrets, ownValkey, prepare, start } from './neighbour.ts'

let folder: string
beforeAll(async () => {
  folder = await prepare({
    name: 'fastify',
    packages: ['fastify@5', '@fastify/cookie@11', '@fastify/session@11'],
    app: 'fastify.ts',
    heading: '@fastify/session',
  })
})
async function open(url?: string) {
  const program = await start(folder, { ...appSecrets(), VALKEY_URL: url ?? (await ownValkey()).url })
  const { origin } = program
  /** Begins a request that changes its session once it is released. */
  const hold = async (visitor: ReturnType<typeof browser>, key: string) => {
    const answer = visitor(`/held/${key}`, POST)
    await until(() => program.output().includes(`holds ${key}`))
    return async () => {
      await browser(origin)(`/release/${key}`, POST)
      return answer
    }
  }
  return { program, hold, visitor: () => browser(origin) }
}

test('signs in, lists devices, and signs out everywhere', async () => {
  const { visitor } = await open()
  const [phone, laptop] = [visitor(), visitor()]

  await phone('/sign-in/ann', POST)
  await laptop('/sign-in/ann', POST)

  expect(JSON.parse((await phone('/')).body)).toEqual({ userId: 'ann' })
  expect(JSON.parse((await phone('/devices')).body)).toHaveLength(2)
  await laptop('/sign-out', POST)
  expect((await laptop('/')).body).toBe('{}')
  expect(JSON.parse((await phone('/devices')).body)).toHaveLength(1)
  await phone('/sign-out-everywhere', POST)
  expect((await phone('/')).body).toBe('{}')
})

test('keeps ended what was ended under a request that still runs', async () => {
  const { visitor, hold } = await open()
  const ann = visitor()
  await ann('/sign-in/ann', POST)
  const cookie = ann.cookie()
  const release = await hold(ann, 'late')

  await ann('/sign-out', POST)

  expect(await release()).toMatchObject({ status: 401, body: expect.not.stringContaining('secret') })
  expect((await visitor()('/', { headers: { cookie } })).body).toBe('{}')
})

test('answers an outage with 503, Retry-After, no cookie and nothing of the server or the handler', async () => {
  const own = await ownValkey()
  const { visitor, hold } = await open(own.url)
  const [ann, ben] = [visitor(), visitor()]
  await ann('/sign-in/ann', POST)
  await ben('/sign-in/ben', POST)
  const release = await hold(ben, 'saved')

  await own.stop()

  for (const answer of [await ann('/'), await release(), await visitor()('/set/first', POST)]) {
    expect(answer).toMatchObject({ status: 503, body: '{"error":"Service Unavailable"}' })
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(answer.headers.getSetCookie()).toEqual([])
  }
})

test('lets the later save win of two requests that change one session, as the page says', async () => {
  const { visitor, hold } = await open()
  const ann = visitor()
  await ann('/sign-in/ann', POST)
  const release = await hold(ann, 'slow')

  await ann('/set/quick', POST)
  await release()

  expect(JSON.parse((await ann('/')).body)).toEqual({ userId: 'ann', slow: true })
})

test('asked to stop, closes the store behind the server', async () => {
  const { program, visitor } = await open()
  await visitor()('/sign-in/ann', POST)

  expect(await program.stop()).toBe(0)
})
