import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import session, { type SessionData } from 'express-session'
import type { Redis } from 'iovalkey'

type Done = (error?: unknown) => void
type Loaded = (error: unknown, session?: SessionData | null) => void

interface Keys {
  readonly keyId: Buffer
  readonly mac: KeyObject
  readonly enc: KeyObject
}

const HEADER_BYTES = 13
const RECORD_BYTES = 70
const MAC_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const TTL_MS = 86_400_000
const MAX_BYTES = 82_090
const NO_OWNER = '.'.repeat(43)

/**
 * The floor: what the same security costs at the least. It keeps the bytes of docs/FORMAT.md under the keys of
 * docs/VALKEY.md with the same script, straight down: one hash, one command, one MAC, `JSON.parse`. It has no deadline, no
 * repeat, no merge, no registry and no check of what it parses, so nobody should use it. Encrypted, it has AES-256-GCM
 * with a random nonce, where the store has XAES-256-GCM.
 */
export class FloorStore extends session.Store {
  readonly #client: Redis
  readonly #prefix: string
  readonly #isEncrypted: boolean
  readonly #keys: Keys
  readonly #header: Buffer
  readonly #contextStart: Buffer
  readonly #script: string
  readonly #digest: string
  readonly #etags = new Map<string, Buffer>()
  #isCorked = false

  constructor(
    client: Redis,
    options: { readonly secret: string; readonly prefix: string; readonly encrypt: boolean },
  ) {
    super()
    this.#client = client
    this.#prefix = options.prefix
    this.#isEncrypted = options.encrypt
    this.#keys = keysOf(options.secret, options.encrypt ? 'encrypted' : 'signed')
    this.#header = Buffer.concat([
      Buffer.from([0x45, 0x53, 0x56, 1, options.encrypt ? 2 : 1]),
      this.#keys.keyId,
    ])
    this.#contextStart = Buffer.concat([field('session'), field(options.prefix), Buffer.from([0, 43])])
    this.#script = putScript()
    this.#digest = createHash('sha1').update(this.#script).digest('hex')
  }

  override get(sid: string, done: Loaded): void {
    const handle = hash('sha256', sid, 'base64url')
    this.#client
      .getrangeBuffer(`${this.#prefix}:r:{${handle}}`, 0, RECORD_BYTES + MAX_BYTES)
      .then((value) => done(null, this.#open(handle, value)))
      .catch(done)
    this.#cork()
  }

  override set(sid: string, data: SessionData, done: Done = () => {}): void {
    const handle = hash('sha256', sid, 'base64url')
    const blob = this.#seal(handle, data)
    const known = this.#etags.get(handle)
    const expect = known === undefined ? 'any' : 'version'
    const keys = [`${this.#prefix}:r:{${handle}}`, `${this.#prefix}:e:{${handle}}`]
    const args = [expect, known ?? '', TTL_MS, 0, NO_OWNER, blob, 0]
    this.#evaluate(keys, args)
      .then((reply) => {
        if (String((reply as readonly unknown[])[0]) !== 'stored') throw new Error(`It was ${reply}`)
        this.#etags.set(handle, blob.subarray(-16))
        done()
      })
      .catch(done)
    this.#cork()
  }

  override touch(_sid: string, _data: SessionData, done: Done = () => {}): void {
    // Not due: the expiry came with the record.
    setImmediate(done)
  }

  override destroy(sid: string, done: Done = () => {}): void {
    const handle = hash('sha256', sid, 'base64url')
    this.#client.del(`${this.#prefix}:r:{${handle}}`).then(() => done(), done)
    this.#cork()
  }

  async #evaluate(keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown> {
    try {
      return await this.#client.callBuffer('evalsha', this.#digest, keys.length, ...keys, ...args)
    } catch (error) {
      if (!String(error).includes('NOSCRIPT')) throw error
      return await this.#client.callBuffer('eval', this.#script, keys.length, ...keys, ...args)
    }
  }

  /** Has what one turn sends leave in one write. */
  #cork(): void {
    if (this.#isCorked) return
    this.#isCorked = true
    const { stream } = this.#client
    stream.cork()
    process.nextTick(() => {
      this.#isCorked = false
      stream.uncork()
    })
  }

  #seal(handle: string, data: SessionData): Buffer {
    const meta = Buffer.from(`{"created":${Date.now()}}`)
    const body = Buffer.from(JSON.stringify(data))
    const head = Buffer.alloc(4)
    head[0] = 1
    head[1] = 0x74
    head.writeUInt16BE(meta.length, 2)
    const plaintext = Buffer.concat([head, randomBytes(8), meta, body])
    const covered = Buffer.concat([
      this.#header,
      this.#isEncrypted ? this.#encrypt(handle, plaintext) : plaintext,
    ])
    return Buffer.concat([covered, this.#mac(handle, covered)])
  }

  #open(handle: string, value: Buffer): SessionData | null {
    if (value.length === 0) return null
    const blob = value.subarray(RECORD_BYTES)
    const covered = blob.subarray(0, -MAC_BYTES)
    if (!blob.subarray(0, HEADER_BYTES).equals(this.#header)) return null
    if (!timingSafeEqual(this.#mac(handle, covered), blob.subarray(-MAC_BYTES))) return null
    const payload = covered.subarray(HEADER_BYTES)
    const plaintext = this.#isEncrypted ? this.#decrypt(handle, payload) : payload
    this.#etags.set(handle, Buffer.from(blob.subarray(-16)))
    return JSON.parse(plaintext.toString('utf8', 12 + plaintext.readUInt16BE(2))) as SessionData
  }

  #mac(handle: string, covered: Buffer): Buffer {
    return createHmac('sha256', this.#keys.mac)
      .update(this.#contextStart)
      .update(handle)
      .update(covered)
      .digest()
  }

  #encrypt(handle: string, plaintext: Buffer): Buffer {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#keys.enc, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.concat([this.#contextStart, Buffer.from(handle), this.#header]))
    const ciphertext = cipher.update(plaintext)
    cipher.final()
    return Buffer.concat([nonce, ciphertext, cipher.getAuthTag()])
  }

  #decrypt(handle: string, payload: Buffer): Buffer {
    const nonce = payload.subarray(0, NONCE_BYTES)
    const decipher = createDecipheriv('aes-256-gcm', this.#keys.enc, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.concat([this.#contextStart, Buffer.from(handle), this.#header]))
    decipher.setAuthTag(payload.subarray(-TAG_BYTES))
    const plaintext = decipher.update(payload.subarray(NONCE_BYTES, -TAG_BYTES))
    decipher.final()
    return plaintext
  }
}

function keysOf(secret: string, mode: string): Keys {
  const derive = (info: string, length: number) =>
    Buffer.from(hkdfSync('sha256', secret, '', `express-session-valkey/v1/${info}`, length))
  return {
    keyId: derive('key-id', 8),
    mac: createSecretKey(derive(`session/${mode}/mac`, 32)),
    enc: createSecretKey(derive('session/encrypted/enc', 32)),
  }
}

function field(text: string): Buffer {
  return Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)])
}

/** The store's own script, out of its source. */
function putScript(): string {
  const file = new URL('../../lib/backend/valkey/scripts/put-record.ts', import.meta.url)
  const script = /defineScript\(\/\* lua \*\/ `([^`]+)`\)/.exec(readFileSync(file, 'utf8'))?.[1]
  if (script === undefined) throw new Error('put-record.ts has its script in another form')
  return script.trim()
}
