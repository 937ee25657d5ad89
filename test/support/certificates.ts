import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generate } from 'selfsigned'

/** A private key and its certificate, in PEM. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}

export interface Certificates {
  /** What signs the others. */
  readonly authority: Certificate
  /** For a server on 127.0.0.1. */
  readonly server: Certificate
  readonly client: Certificate
}

const signature = { keyType: 'ec', algorithm: 'sha256' } as const

/** An authority of our own, with a certificate for a server and one for a client. */
export async function createCertificates(): Promise<Certificates> {
  const authority = await generate([{ name: 'commonName', value: 'test authority' }], {
    ...signature,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })
  const ca = { key: authority.private, cert: authority.cert }
  const signed = async (
    name: string,
    usage: { readonly serverAuth: boolean } | { readonly clientAuth: boolean },
  ) => {
    const pair = await generate([{ name: 'commonName', value: name }], {
      ...signature,
      ca,
      extensions: [
        { name: 'basicConstraints', cA: false },
        { name: 'keyUsage', digitalSignature: true },
        { name: 'extKeyUsage', ...usage },
        { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
      ],
    })
    return { key: pair.private, cert: pair.cert }
  }
  return {
    authority: ca,
    server: await signed('test server', { serverAuth: true }),
    client: await signed('test client', { clientAuth: true }),
  }
}

/** Arguments with which a Valkey server in `dir` listens for TLS on `port`, and asks clients for a certificate. */
export function tlsArguments(dir: string, port: number, { authority, server }: Certificates): string[] {
  const file = (name: string, pem: string) => {
    const path = join(dir, name)
    writeFileSync(path, pem)
    return path
  }
  return [
    ...['--tls-port', String(port)],
    ...['--tls-ca-cert-file', file('ca.pem', authority.cert)],
    ...['--tls-cert-file', file('server.pem', server.cert)],
    ...['--tls-key-file', file('server.key', server.key)],
  ]
}
