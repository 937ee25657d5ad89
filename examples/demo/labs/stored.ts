import type { Express } from 'express'
import type { Store } from 'express-session'
import type { SessionStore } from 'express-session-valkey'
import type { Redis } from 'iovalkey'
import { COOKIE, type RunningApp, save, sendStatusOf, serve, signInApp } from './lab-app.ts'
import { type Part, partsOfRecord } from './record-parts.ts'
import { Visitor } from './visitor.ts'

export interface StoredTerms {
  readonly store: SessionStore
  /** The `prefix` option of the store. */
  readonly prefix: string
  /** A store that writes JSON under the session id, and where it does. */
  readonly plain: Store
  readonly plainPrefix: string
  /** Sees what is in Valkey, as anybody who got at the server does. */
  readonly reader: Redis
}

export interface StoredBytes {
  /** The value as it stands under the session's key. */
  readonly key: string
  readonly parts: readonly Part[]
  /** Every other key of the session and its user. */
  readonly otherKeys: readonly string[]
  /** Whether what the session holds can be found in what is stored. */
  readonly isReadable: boolean
  /** Whom the app knows by the cookie: as stored, with one byte changed, and with the byte put back. */
  readonly user: Tampered
  /** Which byte of the value was changed. */
  readonly flippedAt: number
}

export interface PlainText {
  readonly key: string
  readonly text: string
  readonly edited: string
  /** Whether the key contains the session id, with which one is signed in. */
  readonly hasSessionId: boolean
  readonly user: Pick<Tampered, 'asStored' | 'changed'>
}

export interface Tampered {
  readonly asStored: string | undefined
  readonly changed: string | undefined
  readonly putBack: string | undefined
}

export interface StoredRun {
  readonly sealed: StoredBytes
  readonly plain: PlainText
}

const USER = 'ann'
const NOTE = 'the spare key is under the blue pot'

/** Stores the same session in both stores, looks at the bytes in Valkey, and changes them there. */
export async function runStored(terms: StoredTerms): Promise<StoredRun> {
  return { sealed: await lookAtSealed(terms), plain: await lookAtPlain(terms) }
}

async function lookAtSealed({ store, prefix, reader }: StoredTerms): Promise<StoredBytes> {
  const app = await serve(noteApp(store))
  try {
    const visitor = await signedIn(app)
    const handle = store.handle(sessionIdOf(visitor))
    const key = `${prefix}:r:{${handle}}`
    const value = (await reader.getBuffer(key)) ?? Buffer.alloc(0)
    const parts = partsOfRecord(value)
    const owner = parts.find(({ name }) => name === 'owner')?.bytes.toString() ?? ''
    const keys = await Promise.all([handle, owner].map((name) => reader.keys(`${prefix}:*:{${name}}`)))
    const asStored = await userOf(visitor)
    const flippedAt = Math.floor((value.length + offsetOf(parts, 'payload')) / 2)
    await reader.setrange(key, flippedAt, Buffer.of((value[flippedAt] ?? 0) ^ 1))
    const changed = await userOf(visitor)
    await reader.setrange(key, flippedAt, value.subarray(flippedAt, flippedAt + 1))
    const putBack = await userOf(visitor)
    await visitor.post('/sign-out')
    return {
      ...{ key, parts, flippedAt, user: { asStored, changed, putBack } },
      otherKeys: keys
        .flat()
        .filter((one) => one !== key)
        .sort(),
      isReadable: [NOTE, USER].some((text) => value.includes(`"${text}"`)),
    }
  } finally {
    await app.close()
  }
}

async function lookAtPlain({ plain, plainPrefix, reader }: StoredTerms): Promise<PlainText> {
  const app = await serve(noteApp(plain))
  try {
    const visitor = await signedIn(app)
    const sessionId = sessionIdOf(visitor)
    const key = `${plainPrefix}${sessionId}`
    const text = (await reader.get(key)) ?? ''
    const asStored = await userOf(visitor)
    const edited = text.replace(`"${USER}"`, '"admin"')
    await reader.set(key, edited, 'KEEPTTL')
    const changed = await userOf(visitor)
    await visitor.post('/sign-out')
    return { key, text, edited, hasSessionId: key.includes(sessionId), user: { asStored, changed } }
  } finally {
    await app.close()
  }
}

function noteApp(store: Store): Express {
  const app = signInApp(store)
  app.post('/note', async (req, res) => {
    Object.assign(req.session, { note: NOTE })
    await save(req)
    res.sendStatus(204)
  })
  app.use(sendStatusOf)
  return app
}

async function signedIn(app: RunningApp): Promise<Visitor> {
  const visitor = new Visitor(app.origin)
  await visitor.post(`/sign-in/${USER}`)
  await visitor.post('/note')
  return visitor
}

async function userOf(visitor: Visitor): Promise<string | undefined> {
  const { status, text } = await visitor.get('/session')
  return status === 200 ? (JSON.parse(text) as { readonly userId?: string }).userId : undefined
}

function sessionIdOf({ cookie }: Visitor): string {
  const value = decodeURIComponent(cookie.slice(`${COOKIE}=`.length))
  return value.replace(/^s:/, '').split('.')[0] ?? ''
}

function offsetOf(parts: readonly Part[], name: string): number {
  const at = parts.findIndex((part) => part.name === name || part.name === 'ciphertext')
  return parts.slice(0, at).reduce((sum, { bytes }) => sum + bytes.length, 0)
}
