import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  echo,
  FakeClient,
  fail,
  never,
  runnerOn,
  SLACK_MS,
  timed,
  unavailable,
  unknown,
} from './fake-client.ts'

describe('a call on a client that is not connected yet', () => {
  it.each(['connecting', 'connect', 'reconnecting', 'close'])(
    'waits while it is %s and is sent when it is ready',
    async (status) => {
      const client = new FakeClient(() => 'here')
      client.become(status)
      const call = runnerOn(client).read(echo)
      await delay(10)
      expect(client.calls).toBe(0)
      client.become('ready')

      expect(await call).toBe('here')
    },
  )

  it('starts a client that waits to be asked', async () => {
    const client = new FakeClient(() => 'here')
    client.become('wait')
    const call = runnerOn(client).read(echo)
    client.become('ready')

    expect(await call).toBe('here')
    expect(client.connects).toBe(1)
  })

  it('waits no longer than connectTimeoutMs, sends nothing and was definitely not applied', async () => {
    const client = new FakeClient(() => 'here')
    client.become('connecting')
    const call = runnerOn(client, { commandTimeoutMs: 60_000 }).write(echo)
    const tookMs = await timed(call)

    await expect(call).rejects.toMatchObject(unavailable('connection'))
    expect(tookMs).toBeGreaterThanOrEqual(40 - 5)
    expect(tookMs).toBeLessThan(40 + SLACK_MS)
    expect(client.calls).toBe(0)
  })

  it('waits no longer than its whole deadline, however long connecting may take', async () => {
    const client = new FakeClient(() => 'here')
    client.become('connecting')

    expect(await timed(runnerOn(client, { connectTimeoutMs: 60_000 }).read(echo))).toBeLessThan(
      2 * 60 + 50 + SLACK_MS,
    )
  })

  it('fails at once on a client that has ended, or ends meanwhile', async () => {
    const client = new FakeClient(() => 'here')
    const runner = runnerOn(client, { connectTimeoutMs: 60_000, commandTimeoutMs: 60_000 })
    client.become('connecting')
    const waiting = runner.read(echo)
    await delay(5)
    client.become('end')

    await expect(waiting).rejects.toMatchObject(unavailable('connection'))
    await expect(runner.read(echo)).rejects.toMatchObject(unavailable('connection'))
  })

  it('gives the reason the server gave to the client itself', async () => {
    const client = new FakeClient(() => 'here')
    client.become('connecting')
    const call = runnerOn(client).read(echo)
    client.emit('error', new Error('WRONGPASS invalid username-password pair or user is disabled.'))

    await expect(call).rejects.toMatchObject(unavailable('not-authenticated'))
  })
})

describe('a closed runner', () => {
  it('refuses calls and settles those in flight first', async () => {
    const runner = runnerOn(new FakeClient(() => delay(20).then(() => 'late')))
    const call = runner.read(echo)
    let isClosed = false
    const closing = runner.close().then(() => {
      isClosed = true
    })

    await expect(runner.read(echo)).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
    expect(isClosed).toBe(false)
    await closing
    expect(await call).toBe('late')
  })

  it('does not repeat what fails after it was closed', async () => {
    const client = new FakeClient(() => delay(10).then(fail('Connection is closed.')))
    const runner = runnerOn(client)
    const call = runner.write(echo)
    const closing = runner.close()

    await expect(call).rejects.toMatchObject(unknown('connection'))
    await closing
    expect(client.calls).toBe(1)
  })

  it('closes within the deadline of a call that never settles by itself', async () => {
    const runner = runnerOn(new FakeClient(never))
    const call = runner.write(echo).catch((error: unknown) => error)

    expect(await timed(runner.close())).toBeLessThan(60 + SLACK_MS)
    expect(await call).toMatchObject(unknown('timeout'))
  })
})
