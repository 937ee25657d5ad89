import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'

export interface DemoSecrets {
  /** Seals the stored sessions. */
  readonly sessionKey: string
  /** Signs the cookie; never the same secret. */
  readonly cookieSecret: string
}

const FOLDER = new URL('../../.cache/demo/', import.meta.url)
const FILE = new URL('secrets.json', FOLDER)

/**
 * Secrets that outlive the process, so that sessions on Valkey do too. The demo keeps them in a file of its own;
 * a real app takes them from its environment or its secret manager.
 */
export function keptSecrets(): DemoSecrets {
  try {
    return JSON.parse(readFileSync(FILE, 'utf8')) as DemoSecrets
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  const secrets = freshSecrets()
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(FILE, JSON.stringify(secrets), { mode: 0o600, flag: 'wx' })
  return secrets
}

/** Secrets for one process. */
export function freshSecrets(): DemoSecrets {
  return {
    sessionKey: randomBytes(32).toString('base64url'),
    cookieSecret: randomBytes(32).toString('base64url'),
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
