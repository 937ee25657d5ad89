import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import type * as Argon2 from '@node-rs/argon2'
import { withDeadline } from '../operations.ts'
import { checkFunction, checkKnown, checkObject } from '../option.ts'
import type { UserId } from '../session/names.ts'
import { AuthUnavailableError } from './auth-errors.ts'
import type { Authenticate, Authenticated, Credentials } from './authenticate.ts'

/** A user as the app's own database has it. */
export interface LocalUser {
  readonly id: UserId
  /** A PHC string of argon2id, as `@node-rs/argon2` makes it; `null` if the user has no password. */
  readonly passwordHash: string | null | undefined
  /** Must not sign in, whatever the password. */
  readonly disabled?: boolean | undefined
  /** Must not sign in for now, for example after too many attempts. */
  readonly locked?: boolean | undefined
  /** Is sent to clients beside the id. */
  readonly profile?: Readonly<Record<string, unknown>> | undefined
}

/** A hash with the current parameters, of a password that was right just now. */
export interface Rehash {
  readonly id: UserId
  readonly passwordHash: string
  /** The hash it replaces. Store it only where this one still is, so that a new password is never undone. */
  readonly replaces: string
}

/** Describes a problem for the operator; no client sees it. */
export interface PasswordProblem {
  /** `unusable-hash`: a user's hash is not argon2id, or would cost too much to verify. `rehash-failed`: `update` failed. */
  readonly kind: 'unusable-hash' | 'rehash-failed'
  readonly userId: UserId
  readonly error?: unknown
}

export interface LocalUsersOptions {
  /** Returns the user with this name, as the client sent it; `undefined` or `null` if there is none. May take 5 seconds. */
  find(username: string): LocalUser | null | undefined | Promise<LocalUser | null | undefined>
  /** Stores a hash with stronger parameters. Without it, hashes stay as they are. @defaultValue none */
  update?(rehash: Rehash): unknown
  /** Is told of what went wrong without the client noticing. @defaultValue none */
  onProblem?(problem: PasswordProblem): unknown
}

/** OWASP's choice of argon2id: 19 MiB, 2 passes, 1 lane. */
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const
const SALT_BYTES = 16
const HASH_BYTES = 32
const MAX_PASSWORD_BYTES = 1024
const FIND_DEADLINE_MS = 5000

/**
 * Signs in users of the app's own database by their passwords. An unknown, disabled or locked user costs the same work and
 * gets the same reply as a wrong password. At most 2 hashes run at a time in this process and 16 sign-ins wait for them;
 * further ones are refused at once with 503. A password may have 1,024 bytes, and is verified as the client sent it: an
 * app that normalizes Unicode does so on both sides.
 *
 * @example
 * ```ts
 * import { hashPassword, localUsers } from 'express-session-valkey/auth'
 *
 * const users = new Map([['ann', { id: 1, passwordHash: await hashPassword('correct horse battery staple') }]])
 * const authenticate = localUsers({ find: (username) => users.get(username) })
 * ```
 *
 * @throws `TypeError` if an option is wrong, or `@node-rs/argon2` 2.2 or newer is not installed.
 */
export function localUsers(options: LocalUsersOptions): Authenticate {
  checkObject('localUsers', options)
  checkKnown(options, ['find', 'update', 'onProblem'], 'localUsers')
  checkFunction('find', options.find)
  if (options.update !== undefined) checkFunction('update', options.update)
  if (options.onProblem !== undefined) checkFunction('onProblem', options.onProblem)
  const argon2 = loadArgon2()
  // Of no password: it costs what a current one costs, and nothing matches it.
  const dummy = phcString(randomBytes(SALT_BYTES), randomBytes(HASH_BYTES))

  /** A "find" that hangs must not keep its place among the sign-ins. */
  function found(username: string): Promise<LocalUser | null | undefined> {
    const late = () => new AuthUnavailableError('"find" did not answer in time')
    return withDeadline(
      Promise.resolve().then(() => options.find(username)),
      FIND_DEADLINE_MS,
      late,
    )
  }

  async function signIn({ username, password, req }: Credentials): Promise<Authenticated | undefined> {
    const user = await found(username)
    const stored = user?.passwordHash ?? undefined
    const parameters = stored === undefined ? undefined : affordable(argon2, stored)
    if (user && stored !== undefined && parameters === undefined)
      void report({ kind: 'unusable-hash', userId: user.id })
    const hash = parameters === undefined ? dummy : (stored ?? dummy)
    const isRight = await gate.run(() => {
      if (req.socket?.destroyed) throw new AuthUnavailableError('the client went away')
      return argon2.verify(hash, password)
    })
    if (!isRight || !user || parameters === undefined || user.disabled || user.locked) return undefined
    if (options.update && isWeak(parameters)) void rehash(user, hash, password)
    return { user: { ...user.profile, id: user.id } }
  }

  async function rehash({ id }: LocalUser, replaces: string, password: string): Promise<void> {
    try {
      const passwordHash = await gate.admit(() => gate.run(() => argon2.hash(password, PARAMETERS)))
      await options.update?.({ id, passwordHash, replaces })
    } catch (error) {
      // With a full gate the next sign-in does it.
      if (!(error instanceof AuthUnavailableError)) void report({ kind: 'rehash-failed', userId: id, error })
    }
  }

  async function report(problem: PasswordProblem): Promise<void> {
    try {
      await options.onProblem?.(problem)
    } catch {
      // Whoever observes must not fail a sign-in.
    }
  }

  return async (credentials) => {
    if (Buffer.byteLength(credentials.password) > MAX_PASSWORD_BYTES) return undefined
    return gate.admit(() => signIn(credentials))
  }
}

/**
 * Hashes a password for {@link LocalUser.passwordHash}, in the same queue as sign-ins.
 *
 * @throws `RangeError` if the password has more than 1,024 bytes, {@link AuthUnavailableError} (503) if too many wait.
 */
export async function hashPassword(password: string): Promise<string> {
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES)
    throw new RangeError(`The password has more than ${MAX_PASSWORD_BYTES} bytes`)
  const argon2 = loadArgon2()
  return gate.admit(() => gate.run(() => argon2.hash(password, PARAMETERS)))
}

/**
 * Bounds hashing. Hashes run on the threads that DNS, files and reconnects use too, so two of Node's four stay free; and
 * what cannot be hashed soon is refused at once, not queued.
 */
class HashGate {
  readonly #maxRunning: number
  readonly #maxAdmitted: number
  #admitted = 0
  #running = 0
  readonly #waiting: (() => void)[] = []

  constructor(threads: number) {
    this.#maxRunning = Math.max(1, Math.min(2, threads - 2))
    this.#maxAdmitted = this.#maxRunning * 9
  }

  /** Does the work of one sign-in, unless too many are at it. */
  async admit<Value>(work: () => Promise<Value>): Promise<Value> {
    if (this.#admitted >= this.#maxAdmitted) throw new AuthUnavailableError('too many sign-ins at once')
    this.#admitted += 1
    try {
      return await work()
    } finally {
      this.#admitted -= 1
    }
  }

  /** Hashes when its turn has come. The turn ends with the hash, also where nobody waits for it any more. */
  async run<Value>(hash: () => Promise<Value>): Promise<Value> {
    if (this.#running >= this.#maxRunning) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#running += 1
    try {
      return await hash()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}

// One for the process, as its threads are.
const gate = new HashGate(Number(process.env['UV_THREADPOOL_SIZE'] ?? 4) || 4)

/** The parameters of a hash that may be verified: argon2id, at a cost that a planted hash cannot raise at will. */
function affordable(argon2: typeof Argon2, hash: string): Argon2.ParsedHashOptions | undefined {
  try {
    const parsed = argon2.parseOptions(hash)
    const { memoryCost, timeCost, parallelism, saltLen, outputLen } = parsed
    const isCheap =
      memoryCost <= 65_536 && timeCost <= 10 && parallelism <= 4 && memoryCost * timeCost <= 262_144
    const isWhole = saltLen >= 8 && outputLen >= 16 && outputLen <= 64
    return isCheap && isWhole && hash.startsWith('$argon2id$') ? parsed : undefined
  } catch {
    return undefined
  }
}

function isWeak({ memoryCost, timeCost, saltLen, outputLen, version }: Argon2.ParsedHashOptions): boolean {
  const isCheaper = memoryCost * timeCost < PARAMETERS.memoryCost * PARAMETERS.timeCost
  // Version 1 is 0x13, which this library's enumeration cannot be imported to say.
  return isCheaper || saltLen < SALT_BYTES || outputLen < HASH_BYTES || Number(version) !== 1
}

function phcString(salt: Buffer, hash: Buffer): string {
  const { memoryCost, timeCost, parallelism } = PARAMETERS
  const [encodedSalt, encodedHash] = [salt, hash].map((part) => part.toString('base64').replaceAll('=', ''))
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${encodedSalt}$${encodedHash}`
}

/** An optional peer: who signs users in otherwise does not need it. */
function loadArgon2(): typeof Argon2 {
  const argon2 = required()
  if (typeof argon2?.parseOptions === 'function') return argon2
  throw new TypeError(
    'Passwords need the package "@node-rs/argon2", 2.2 or newer: npm install @node-rs/argon2',
  )
}

function required(): typeof Argon2 | undefined {
  try {
    return createRequire(import.meta.url)('@node-rs/argon2') as typeof Argon2
  } catch {
    return undefined
  }
}
