import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Attempt, Command } from '../../../lib/backend/valkey/commands/command-runner.ts'
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

const retriedEcho: Command<string> = {
  ...echo,
  decode: (reply, { wasRetried }) => (wasRetried ? `${reply}, retried` : String(reply)),
}

describe('a call', () => {
  it('answers what the reply decodes to', async () => {
    const runner = runnerOn(new FakeClient(() => 'here'))

    expect(await runner.read(echo)).toBe('here')
    expect(await runner.write(echo)).toBe('here')
  })

  it('that never gets a reply fails within its deadline, a read as unavailable, a write as unknown', async () => {
    const runner = runnerOn(new FakeClient(never))

    await expect(runner.read(echo)).rejects.toMatchObject(unavailable('timeout'))
    await expect(runner.write(echo)).rejects.toMatchObject(unknown('timeout'))
    const tookMs = await timed(runner.write(echo))
    expect(tookMs).toBeGreaterThanOrEqual(2 * 60 - 5)
    expect(tookMs).toBeLessThan(2 * 60 + 50 + SLACK_MS)
  })

  it('fails within one timeout when it has no retries', async () => {
    const client = new FakeClient(never)

    expect(await timed(runnerOn(client, { retries: 0 }).read(echo))).toBeLessThan(60 + SLACK_MS)
    expect(client.calls).toBe(1)
  })

  it('is repeated once after a lost reply, and says that it may be a repeat', async () => {
    const client = new FakeClient(fail('Connection is closed.'), () => 'there')

    expect(await runnerOn(client).write(retriedEcho)).toBe('there, retried')
    expect(client.calls).toBe(2)
  })

  it('is repeated after a refusal that passes, and then is no repeat', async () => {
    const client = new FakeClient(fail('LOADING Valkey is loading the dataset in memory'), () => 'there')

    expect(await runnerOn(client).write(retriedEcho)).toBe('there')
  })

  it('is not repeated after a refusal that lasts', async () => {
    const client = new FakeClient(fail("OOM command not allowed when used memory > 'maxmemory'."))

    await expect(runnerOn(client).write(echo)).rejects.toMatchObject(unavailable('out-of-memory'))
    expect(client.calls).toBe(1)
  })

  it('stays unknown when a refusal follows a lost reply', async () => {
    const client = new FakeClient(
      fail('Connection is closed.'),
      fail('READONLY You can not write against a replica.'),
    )

    await expect(runnerOn(client).write(echo)).rejects.toMatchObject(unknown('read-only'))
  })

  it('is refused when every attempt was', async () => {
    const client = new FakeClient(fail('READONLY You can not write against a replica.'))

    await expect(runnerOn(client).write(echo)).rejects.toMatchObject(unavailable('read-only'))
    expect(client.calls).toBe(2)
  })

  it('is repeated as often as the retries say', async () => {
    const client = new FakeClient(fail('BUSY Valkey is busy running a script.'))

    await expect(runnerOn(client, { retries: 3 }).read(echo)).rejects.toMatchObject(unavailable('busy'))
    expect(client.calls).toBe(4)
  })

  it('meets a value that is no record as an invalid one', async () => {
    const client = new FakeClient(fail('CORRUPT no record'))

    await expect(runnerOn(client).write(echo)).rejects.toMatchObject({ code: 'ERR_SESSION_INVALID' })
  })

  it('returns what its command says where a value is no record', async () => {
    const client = new FakeClient(fail('WRONGTYPE Operation against a key holding the wrong kind of value'))

    expect(await runnerOn(client).read({ ...echo, unreadable: 'unreadable' })).toBe('unreadable')
  })

  it('does not take a reply that should not exist', async () => {
    const runner = runnerOn(new FakeClient(() => 7))

    await expect(runner.read(echo)).rejects.toMatchObject(unavailable('unexpected-reply'))
    await expect(runner.write(echo)).rejects.toMatchObject(unknown('unexpected-reply'))
  })

  it('survives a client that throws at once', async () => {
    const client = new FakeClient()
    client.callBuffer = fail('Connection is closed.')

    await expect(runnerOn(client).write(echo)).rejects.toMatchObject(unknown('connection'))
  })

  it('asks a cluster client to learn its slots anew after a lost connection and a read-only answer', async () => {
    const client = new FakeClient(fail('Connection is closed.'), () => 'there')
    await runnerOn(client).write(echo)
    expect(client.refreshes).toBe(1)

    const demoted = new FakeClient(fail('READONLY You can not write against a replica.'), () => 'there')
    await runnerOn(demoted).write(echo)
    expect(demoted.refreshes).toBe(1)
  })

  it('tells its sender when nobody waits any more', async () => {
    let sent: Attempt | undefined
    const runner = runnerOn(new FakeClient(never), { retries: 0 })
    const send: Command<string>['send'] = (client, attempt) => {
      sent = attempt
      return client.callBuffer('echo')
    }
    const call = runner.write({ ...echo, send })
    await delay(5)
    expect(sent?.isAwaited).toBe(true)
    await expect(call).rejects.toMatchObject(unknown('timeout'))
    expect(sent?.isAwaited).toBe(false)
  })

  it('leaves nothing of the command in its error, not even hidden', async () => {
    for (const message of [
      'Connection is closed.',
      'OOM secret-canary',
      'secret-canary',
      'WRONGTYPE secret-canary',
    ]) {
      const error: unknown = await runnerOn(new FakeClient(fail(message)))
        .write(echo)
        .catch((rejection: unknown) => rejection)
      expect(inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true })).not.toContain(
        'secret-canary',
      )
      expect(error).toBeInstanceOf(Error)
      expect(error).not.toHaveProperty('cause')
    }
  })

  it('leaves no late rejection unhandled', async () => {
    const rejections: unknown[] = []
    const note = (reason: unknown) => void rejections.push(reason)
    process.on('unhandledRejection', note)
    onTestFinished(() => void process.off('unhandledRejection', note))
    const late = () => delay(100).then(fail('Command timed out'))
    await timed(runnerOn(new FakeClient(late), { retries: 0 }).write(echo))
    await delay(150)

    expect(rejections).toEqual([])
  })
})
