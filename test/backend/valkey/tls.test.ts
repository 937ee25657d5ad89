import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls, { type ConnectionOptions, type TLSSocket } from 'node:tls'
import { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { safeClientOptions } from '../../../lib/backend/valkey/connection/client-settings.ts'
import {
  createValkeyClient,
  type ValkeyConnection,
} from '../../../lib/backend/valkey/connection/connection.ts'
import { connectionStateOf } from '../../../lib/backend/valkey/connection/connection-state.ts'
import { ValkeyBackend } from '../../../lib/backend/valkey/valkey-backend.ts'
import { type Certificates, createCertificates, tlsArguments } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'

const timing = { connectTimeoutMs: 2000, commandTimeoutMs: 5000 }

let certificates: Certificates
let dir: string
const servers: ValkeyServer[] = []

interface TlsServer {
  readonly server: ValkeyServer
  readonly url: string
}

async function startTls(...args: readonly string[]): Promise<TlsServer> {
  const port = await freePort()
  const server = await startValkey({ args: [...tlsArguments(dir, port, certificates), ...args] })
  servers.push(server)
  return { server, url: `valkeys://127.0.0.1:${port}` }
}

function backendOn(connection: ValkeyConnection): ValkeyBackend {
  const client = createValkeyClient(connection, timing)
  const backend = new ValkeyBackend({
    client,
    prefix: 'tls',
    maxBlobBytes: 1000,
    ownsClient: true,
    ...timing,
  })
  onTestFinished(() => backend.close())
  return backend
}

const outcome = (url: string, tls?: ConnectionOptions) =>
  backendOn({ url, tls, connectionName: 'ours' })
    .ping()
    .then(
      () => 'reached',
      (error: { code: string; reason: string }) => `${error.code} ${error.reason}`,
    )

const REFUSED = 'ERR_STORE_UNAVAILABLE tls'
// TLS 1.3 tells a client that its certificate is refused only after the handshake, if the alert arrives at all.
const CUT_OFF = /^ERR_STORE_UNAVAILABLE (tls|connection)$/

beforeAll(async () => {
  certificates = await createCertificates()
  dir = mkdtempSync(join(tmpdir(), 'tls-test-'))
})

afterAll(async () => {
  for (const server of servers) await server.stop()
  rmSync(dir, { recursive: true })
})

describe('a server with a certificate', () => {
  let url: string
  let server: ValkeyServer

  beforeAll(async () => {
    ;({ url, server } = await startTls('--tls-auth-clients', 'no'))
  })

  test('is reached where its authority is known, by TLS 1.2 or later', async () => {
    expect(await outcome(url, { ca: certificates.authority.cert })).toBe('reached')
    expect(await outcome(url, { ca: certificates.authority.cert, maxVersion: 'TLSv1.2' })).toBe('reached')
  })

  test('is not reached where its authority is not known', async () => {
    expect(await outcome(url)).toBe(REFUSED)
    expect(await outcome(url, { ca: certificates.client.cert })).toBe(REFUSED)
  })

  test('is verified also where the process verifies nobody', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    onTestFinished(() => void vi.unstubAllEnvs())

    expect(await outcome(url)).toBe(REFUSED)
    expect(await outcome(url, { ca: certificates.client.cert })).toBe(REFUSED)
  })

  test('is not reached under a name that its certificate does not have', async () => {
    expect(await outcome(url, { ca: certificates.authority.cert, servername: 'valkey.invalid' })).toBe(
      REFUSED,
    )
  })

  test.each([
    ['of ours', (options: ConnectionOptions) => createValkeyClient({ url, tls: options }, timing)],
    [
      'that was handed in',
      (options: ConnectionOptions) => {
        const { hostname: host, port } = new URL(url)
        const client = new Redis({ host, port: Number(port), tls: options, ...safeClientOptions(timing) })
        connectionStateOf(client)
        return client
      },
    ],
  ])('whose certificate is refused ends no process by its alert to a client %s', async (_, create) => {
    const sockets: Promise<TLSSocket>[] = []
    const { connect } = tls
    const spy = vi.spyOn(tls, 'connect').mockImplementation(((options: ConnectionOptions) => {
      const socket = connect(options)
      sockets.push(new Promise((resolve) => socket.once('close', () => resolve(socket))))
      return socket
    }) as typeof tls.connect)
    onTestFinished(() => spy.mockRestore())

    const client = create({ ca: certificates.authority.cert, servername: 'valkey.invalid' })
    await vi.waitFor(() => expect(sockets).not.toHaveLength(0))
    const socket = await sockets[0]
    client.disconnect()

    // A fake: of real alerts one in about a hundred comes late enough.
    expect(() => socket?.emit('error', new Error('alert'))).not.toThrow()
  })

  test('is heard over TLS too, by the connection that only listens', async () => {
    const backend = backendOn({ url, tls: { ca: certificates.authority.cert } })
    const handle = 'h'.repeat(43)

    const heard = new Promise((resolve) => {
      backend.subscribe({
        notice: resolve,
        gap: () => {
          void backend.end(handle, { blob: Buffer.alloc(0), ownedTtlMs: 1000, fenceTtlMs: 1000 })
        },
      })
    })

    expect(await heard).toEqual({ handle, owner: undefined })
    expect(await server.client().client('LIST')).not.toMatch(/laddr=127\.0\.0\.1:\d+ [^\n]*name=ours/)
  })

  test('that speaks no more than TLS 1.1 is not reached', async () => {
    const { url: retired } = await startTls(
      ...['--tls-auth-clients', 'no', '--tls-protocols', 'TLSv1.1', '--tls-ciphers', 'ALL:@SECLEVEL=0'],
    )

    expect(await outcome(retired, { ca: certificates.authority.cert, ciphers: 'ALL:@SECLEVEL=0' })).toBe(
      REFUSED,
    )
  })
})

describe('a server that asks for a certificate of the client', () => {
  let url: string

  beforeAll(async () => {
    ;({ url } = await startTls('--tls-auth-clients', 'yes'))
  })

  test('is reached with one of its authority', async () => {
    expect(await outcome(url, { ca: certificates.authority.cert, ...certificates.client })).toBe('reached')
  })

  test('is not reached without one, nor with one of another authority', async () => {
    const foreign = await createCertificates()

    expect(await outcome(url, { ca: certificates.authority.cert })).toMatch(CUT_OFF)
    expect(await outcome(url, { ca: certificates.authority.cert, ...foreign.client })).toMatch(CUT_OFF)
  })
})
