import { readFileSync } from 'node:fs'
import type { ServerAddress, ValkeyConnection } from '../backend/valkey/connection/connection.ts'
import type { Secret } from '../seal/secret.ts'
import { type Flags, type Invocation, UsageError } from './command.ts'

/** Flags of commands that ask a server. Passwords come from the environment or a file only. */
export const CONNECTION_FLAGS: Flags = {
  url: { value: 'URL', help: 'one server: valkey://host:6379/0, valkeys:// for TLS [VALKEY_URL]' },
  nodes: { value: 'HOST:PORT,…', help: 'some nodes of a cluster [VALKEY_NODES]' },
  sentinels: { value: 'HOST:PORT,…', help: 'the sentinels that keep the primary [VALKEY_SENTINELS]' },
  'sentinel-name': { value: 'NAME', help: 'what they call the primary [VALKEY_SENTINEL_NAME]' },
  username: { value: 'NAME', help: 'the ACL user; its password is VALKEY_PASSWORD [VALKEY_USERNAME]' },
  'password-file': { value: 'FILE', help: 'a file with the password, instead of VALKEY_PASSWORD' },
  tls: { help: 'use TLS with --nodes or --sentinels' },
  'ca-file': { value: 'FILE', help: 'a private certificate authority, PEM' },
  'allow-plaintext': { help: 'let logins travel unprotected to another machine' },
  prefix: { value: 'PREFIX', help: 'the prefix of the store [SESSION_PREFIX, or sess]' },
}

/** Flags of commands that open or seal sessions. */
export const SECRET_FLAGS: Flags = {
  'secrets-file': {
    value: 'FILE',
    help: 'the secrets, one a line, the newest first, instead of SESSION_KEYS (a,b) or SESSION_KEY',
  },
  'secret-encoding': { value: 'utf8|hex|base64', help: 'what the app makes of their text [utf8]' },
  encrypt: { help: 'the store has "encrypt: true" [SESSION_ENCRYPT=true]' },
}

/** Where Valkey is, by flags or environment. */
export function connectionOf(invocation: Invocation): ValkeyConnection {
  const flagged = ['url', 'nodes', 'sentinels'].filter((name) => invocation.text(name) !== undefined)
  if (flagged.length > 1) throw new UsageError(`--${flagged.join(' and --')} exclude each other`)
  // A flag wins over the environment as a whole.
  const place = (name: string, variable: string) =>
    flagged.length > 0 ? invocation.text(name) : invocation.textOrEnv(name, variable)
  const nodes = place('nodes', 'VALKEY_NODES')
  const sentinels = nodes === undefined ? place('sentinels', 'VALKEY_SENTINELS') : undefined
  const url = nodes === undefined && sentinels === undefined ? place('url', 'VALKEY_URL') : undefined
  const isTls = invocation.has('tls')
  const ca = invocation.text('ca-file')
  const username = invocation.textOrEnv('username', 'VALKEY_USERNAME')
  const password = passwordOf(invocation)
  return {
    ...(sentinels === undefined ? placeOf({ url, nodes }) : sentinelsOf(sentinels, invocation)),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(ca === undefined ? isTls && { tls: true } : { tls: { ca: readText(ca) } }),
    unsafeAllowPlaintext: invocation.has('allow-plaintext'),
  }
}

/** Where another program keeps its values; `undefined` if that is the same place. */
export function otherConnectionOf(invocation: Invocation): ValkeyConnection | undefined {
  const url = invocation.text('to-url') ?? invocation.textOrEnv('from-url', 'LEGACY_URL')
  const nodes = invocation.text('to-nodes') ?? invocation.text('from-nodes')
  if (url === undefined && nodes === undefined) return undefined
  const password = invocation.env['LEGACY_PASSWORD']
  return {
    ...placeOf({ url: nodes === undefined ? url : undefined, nodes }),
    ...(password && { password }),
    unsafeAllowPlaintext: invocation.has('allow-plaintext'),
  }
}

function placeOf(place: {
  readonly url: string | undefined
  readonly nodes: string | undefined
}): ValkeyConnection {
  if (place.nodes !== undefined) return { nodes: addressesOf('nodes', place.nodes) }
  if (place.url === undefined)
    throw new UsageError('say where Valkey is: --url or VALKEY_URL, --nodes, or --sentinels')
  return { url: place.url }
}

function sentinelsOf(list: string, invocation: Invocation): ValkeyConnection {
  const sentinelName = invocation.textOrEnv('sentinel-name', 'VALKEY_SENTINEL_NAME')
  if (sentinelName === undefined) throw new UsageError('--sentinels needs --sentinel-name')
  return {
    sentinels: addressesOf('sentinels', list),
    sentinelName,
    sentinelUsername: invocation.env['VALKEY_SENTINEL_USERNAME'],
    sentinelPassword: invocation.env['VALKEY_SENTINEL_PASSWORD'],
  }
}

function passwordOf(invocation: Invocation): string | undefined {
  const file = invocation.text('password-file')
  return file === undefined ? invocation.env['VALKEY_PASSWORD'] || undefined : readText(file).trim()
}

export function prefixOf(invocation: Invocation): string {
  return invocation.textOrEnv('prefix', 'SESSION_PREFIX') ?? 'sess'
}

export function isEncrypted(invocation: Invocation): boolean {
  return invocation.has('encrypt') || invocation.env['SESSION_ENCRYPT'] === 'true'
}

/** The secrets, or `undefined` if none are given. */
export function secretsOf(invocation: Invocation): readonly Secret[] | undefined {
  const { SESSION_KEYS: list, SESSION_KEY: one } = invocation.env
  const file = invocation.text('secrets-file')
  const encoding = invocation.oneOf('secret-encoding', ['utf8', 'hex', 'base64']) ?? 'utf8'
  const texts = file === undefined ? (list?.split(',') ?? (one ? [one] : [])) : linesOf(file)
  const decoded = texts.filter((text) => text !== '')
  if (decoded.length === 0) return undefined
  return encoding === 'utf8' ? decoded : decoded.map((text) => Buffer.from(text, encoding))
}

export function requiredSecrets(invocation: Invocation): readonly Secret[] {
  const secrets = secretsOf(invocation)
  if (secrets !== undefined) return secrets
  throw new UsageError('give the secrets of the store: SESSION_KEYS, SESSION_KEY or --secrets-file')
}

function linesOf(file: string): string[] {
  return readText(file)
    .split('\n')
    .map((line) => line.trim())
}

export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException
    throw new UsageError(`the file ${file} cannot be read (${code})`)
  }
}

function addressesOf(name: string, list: string): ServerAddress[] {
  return list.split(',').map((text) => {
    const [, ipv6, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text.trim()) ?? []
    const host = ipv6 ?? plain
    if (host === undefined) throw new UsageError(`--${name} must be host:port, separated by commas`)
    return { host, port: Number(port) }
  })
}
