import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'

export interface DemoSecrets {
  /** Seals the stored sessions. */
  readonly sessionKey: string
  /** Signs the cookie; never the same secret. */
  readonly cookieSecret: string
  /** Signs access tokens: a private key, PEM. */
  readonly signingKey: string
}

const FOLDER = new URL('../../.cache/demo/', import.meta.url)
const FILE = new URL('secrets-2.json', FOLDER)

/**
 * Secrets that outlive the process, so that sessions on Valkey do too, and that two instances share. The demo keeps them
 * in a file of its own; a real app takes them from its environment or its secret manager.
 */
export function keptSecrets(): DemoSecrets {
  const kept = readSecrets()
  if (kept !== undefined) return kept
  const secrets = freshSecrets()
  mkdirSync(FOLDER, { recursive: true })
  try {
    writeFileSync(FILE, JSON.stringify(secrets), { mode: 0o600, flag: 'wx' })
    return secrets
  } catch (error) {
    // Another instance has just written them.
    const theirs = hasCode(error, 'EEXIST') ? readSecrets() : undefined
    if (theirs === undefined) throw error
    return theirs
  }
}

/** Secrets for one process. */
export function freshSecrets(): DemoSecrets {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    sessionKey: randomBytes(32).toString('base64url'),
    cookieSecret: randomBytes(32).toString('base64url'),
    signingKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

function readSecrets(): DemoSecrets | undefined {
  try {
    return JSON.parse(readFileSync(FILE, 'utf8')) as DemoSecrets
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
