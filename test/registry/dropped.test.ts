import { execFile } from 'node:child_process'
import { getEventListeners } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { SessionWatchBehindError } from '../../lib/errors.ts'
import { WatchFeed } from '../../lib/registry/watch.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { failureOf } from '../store/failure-of.ts'

const PROGRAM = fileURLToPath(new URL('./dropped-process.ts', import.meta.url))
const ending = { at: new Date(), reason: 'ended', actor: { type: 'app' } }

test('what is dropped is freed: stores in process, and watches nobody reads', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', PROGRAM])

  expect(JSON.parse(stdout)).toEqual({
    store: true,
    storeAfterWatches: true,
    storeWithWatches: true,
    watchLeft: true,
    watchRead: true,
  })
})

test('any number of watches have one listener on their signal, until the last of them stops', async () => {
  const store = new InProcessStore()
  const stop = new AbortController()
  const listeners = () => getEventListeners(stop.signal, 'abort').length
  const watches = Array.from({ length: 20 }, (_, n) =>
    store.registry.watch({ userId: `user-${n}` }, { signal: stop.signal }),
  )
  const ended = store.registry.watch({ sid: 'never-there' }, { signal: stop.signal })
  await ended.ended
  const whileWatching = listeners()

  stop.abort('enough')

  expect(await Promise.all(watches.map(({ ended }) => failureOf(ended)))).toEqual(Array(20).fill('enough'))
  expect([whileWatching, listeners()]).toEqual([1, 0])
})

describe('what a watch tells', () => {
  test('is kept for who reads later, and once', async () => {
    const feed = new WatchFeed(() => {})
    for (const handle of ['a', 'b', 'a', 'b', 'b']) feed.report({ ...ending, handle })
    feed.finish(undefined)

    expect(await Promise.all([feed.next(), feed.next(), feed.next()])).toMatchObject([
      { value: { handle: 'a' } },
      { value: { handle: 'b' } },
      { done: true },
    ])
  })

  test('stops it when 1,000 wait to be read: those are read, and then it fails', async () => {
    let isStopped = false
    const feed = new WatchFeed(() => {
      isStopped = true
    })
    for (let n = 0; n < 1000; n += 1) feed.report({ ...ending, handle: String(n) })
    const wasStopped = isStopped
    feed.report({ ...ending, handle: 'one more' })

    expect([wasStopped, isStopped]).toEqual([false, true])
    for (let n = 0; n < 1000; n += 1)
      expect(await feed.next()).toMatchObject({ value: { handle: String(n) } })
    expect(await failureOf(feed.next())).toBeInstanceOf(SessionWatchBehindError)
    expect(await feed.next()).toMatchObject({ done: true })
    expect(await feed.ended).toMatchObject({ handle: '0' })
  })
})
