import { isIPv4 } from 'node:net'
import type { SecureVersion, ConnectionOptions as TlsOptions } from 'node:tls'

// RFC 8996 retires TLS 1.0 and 1.1.
const RETIRED: readonly (SecureVersion | undefined)[] = ['TLSv1', 'TLSv1.1']

/** Whether nobody else can listen on the way to a host. A host that is not given is this machine. */
export function isLoopback(host: string | undefined): boolean {
  if (host === undefined || host === '' || host === 'localhost' || host === '::1') return true
  // As a socket of both families names an IPv4 address.
  const address = host.replace(/^::ffff:/i, '')
  return isIPv4(address) && address.startsWith('127.')
}

/** Why TLS with these options does not protect, if so: the option, and what it should be. */
export function tlsFlaw(
  options: TlsOptions,
): { readonly option: string; readonly remedy: string } | undefined {
  if (options.rejectUnauthorized === false)
    return { option: 'rejectUnauthorized', remedy: 'left out; give the CA of a private certificate as "ca"' }
  // It names one version, a retired one if it likes, whatever the other two say.
  if (options.secureProtocol !== undefined) return { option: 'secureProtocol', remedy: 'left out' }
  if (RETIRED.includes(options.minVersion)) return { option: 'minVersion', remedy: "'TLSv1.2' or 'TLSv1.3'" }
  if (RETIRED.includes(options.maxVersion)) return { option: 'maxVersion', remedy: 'left out' }
  return undefined
}
