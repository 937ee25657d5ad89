import { describe, expect, onTestFinished, test } from 'vitest'
import type { Finding } from '../../../lib/backend/finding.ts'
import { ServerGate } from '../../../lib/backend/valkey/checks/server-gate.ts'
import { isLoopback } from '../../../lib/backend/valkey/connection/transport.ts'
import { FakeClient } from './fake-client.ts'

const SOUND = 'valkey_version:8.0.1\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n'

// Fakes, as tests reach no other machine: sentinels and clusters may name servers that no option knows.
function judge(socket: object, { acceptsPlaintext = false, info = () => SOUND as unknown } = {}) {
  const client = Object.assign(new FakeClient(info), {
    stream: { setMaxListeners: () => {}, on: () => {}, off: () => {}, ...socket },
  })
  const reported: string[] = []
  const report = (findings: readonly Finding[]) => reported.push(...findings.map(({ code }) => code))
  const admission = new ServerGate({ client, isRefused: true, acceptsPlaintext, report })
  onTestFinished(() => admission.close())
  return { refusal: admission.refusal(), reported }
}

describe('a server that the client was sent to', () => {
  test('on another machine is refused without TLS, also if it denies INFO', async () => {
    const denied = () => {
      throw new Error("NOPERM User app has no permissions to run the 'info' command")
    }
    for (const [info, codes] of [
      [() => SOUND, ['plaintext']],
      [denied, ['plaintext', 'server-unknown']],
    ] as const) {
      const { refusal, reported } = judge({ remoteAddress: '10.0.0.1' }, { info })

      expect(await refusal).toMatchObject({ reason: 'unsafe-server', mayBeApplied: false })
      expect(reported).toEqual(codes)
    }
  })

  test.each<[string, object, boolean]>([
    ['with TLS', { remoteAddress: '10.0.0.1', encrypted: true }, false],
    ['where plaintext was accepted by name', { remoteAddress: '10.0.0.1' }, true],
    ['on this machine', { remoteAddress: '127.0.0.1' }, false],
    ['on this machine, by a socket of both families', { remoteAddress: '::ffff:127.0.0.1' }, false],
    ['by a unix socket', {}, false],
  ])('is used %s', async (_, socket, acceptsPlaintext) => {
    const { refusal, reported } = judge(socket, { acceptsPlaintext })

    expect(await refusal).toBeUndefined()
    expect(reported).toEqual([])
  })
})

test('loopback is this machine and nothing that looks like it', () => {
  const loopback = [undefined, '', 'localhost', '::1', '127.0.0.1', '127.255.0.9', '::ffff:127.0.0.1']
  const others = [
    '127.0.0.1.example.org',
    '10.0.0.1',
    '::ffff:10.0.0.1',
    '::2',
    '127',
    'localhost.example.org',
    '0.0.0.0',
  ]

  expect(loopback.filter((host) => !isLoopback(host))).toEqual([])
  expect(others.filter((host) => isLoopback(host))).toEqual([])
})
