import { expect, test } from 'vitest'
import { browser, POST } from './browser.ts'
import { prepare, start } from './neighbour.ts'

test('users of Mongoose sign in by the text of their id, by an ObjectId, and through Passport', {
  timeout: 300_000,
}, async () => {
  const folder = await prepare({
    name: 'mongoose',
    packages: ['mongoose@9'],
    app: 'mongoose.ts',
    heading: 'Mongoose',
  })
  const { origin } = await start(folder, {})

  for (const [way, user] of [
    ['text', 'ann'],
    ['object-id', 'ben'],
    ['passport', 'cat'],
  ]) {
    const [phone, laptop] = [browser(origin), browser(origin)]
    expect((await phone(`/${way}/${user}`, POST)).status).toBe(200)
    await laptop(`/${way}/${user}`, POST)

    expect(JSON.parse((await phone('/')).body)).toEqual({ type: 'string', name: user })
    expect((await phone(`/devices/${user}`)).body).toBe('2')
    await phone(`/sign-out-everywhere/${user}`, POST)
    expect(JSON.parse((await laptop('/')).body)).toEqual({ type: 'undefined', name: null })
  }
  await browser(origin)('/text/ann', POST)
  expect((await browser(origin)('/by-object-id/ann', POST)).body).toBe('1')
})
