import { beforeAll, expect, test } from 'vitest'
import { browser, POST } from './browser.ts'
import { appSecrets, ownValkey, prepare, start } from './neighbour.ts'

let folder: string
beforeAll(async () => {
  folder = await prepare({
    name: 'oidc-provider',
    packages: ['oidc-provider@9', '@types/oidc-provider@9'],
    app: 'openid-client.ts',
    heading: 'openid-client',
  })
})
type Browser = ReturnType<typeof browser>

const locationOf = ({ headers }: { headers: Headers }) => headers.get('location') ?? ''

/** Goes to the provider, and through its pages as a user does; answers where it sends the browser back to. */
async function signInAtProvider(visitor: Browser, user: string): Promise<string> {
  let url = locationOf(await visitor('/sign-in'))
  const provider = browser(url)
  for (;;) {
    const page = await provider(url)
    const form = /action="([^"]+)"[\s\S]*name="prompt" value="(\w+)"/.exec(page.body)
    url = new URL(locationOf(page) || '.', url).href
    if (form) {
      const [, action = '', prompt = ''] = form
      const body = new URLSearchParams({ prompt, login: user, password: 'any' })
      url = locationOf(await provider(action, { ...POST, body }))
    }
    if (url.includes('/callback')) return url
  }
}

test('signs in at a provider; only the browser that began it, and once', async () => {
  const { origin } = await start(folder, { ...appSecrets(), VALKEY_URL: (await ownValkey()).url })
  const [ann, mallory] = [browser(origin), browser(origin)]
  const callback = await signInAtProvider(ann, 'ann')
  const before = ann.cookie()

  expect((await mallory(callback)).status).toBe(400)
  await mallory('/sign-in')
  expect((await mallory(callback)).status).toBe(500)
  expect(JSON.parse((await mallory('/')).body)).toMatchObject({ userId: null })

  const back = await ann(callback)
  expect([back.status, locationOf(back)]).toEqual([302, '/'])
  expect(JSON.parse((await ann('/')).body)).toEqual({ userId: 'ann', signIn: null })
  expect(ann.cookie()).not.toBe(before)
  expect((await ann('/devices/ann')).body).toBe('1')
  expect((await ann(callback)).status).toBe(400)
})

test('sends nobody to the provider whose sign-in could not be stored', async () => {
  const own = await ownValkey()
  const { origin } = await start(folder, { ...appSecrets(), VALKEY_URL: own.url })

  await own.stop()

  const refused = await browser(origin)('/sign-in')
  expect([refused.status, locationOf(refused)]).toEqual([503, ''])
})
