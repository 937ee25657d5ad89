import { createHash, randomBytes } from 'node:crypto'
import { afterEach, beforeEach } from 'vitest'
import type { Backend, Expectation, RecordEnding, RecordWrite } from '../../../lib/backend/backend.ts'

/** A backend under test, empty at first. */
export interface Subject {
  readonly backend: Backend
  /** Returns once the backend's own clock is past this time. */
  passTo(timeMs: number): Promise<void>
}

export type CreateSubject = () => Promise<Subject>

export const LONG_MS = 600_000

export const absent: Expectation = { kind: 'absent' }
export const any: Expectation = { kind: 'any' }

export function version(blob: Buffer): Expectation {
  return { kind: 'version', etag: Buffer.from(blob.subarray(-16)) }
}

export function newHandle(): string {
  return randomBytes(32).toString('base64url')
}

export function newOwner(name = randomBytes(8).toString('hex')): string {
  return createHash('sha256').update(name).digest('base64url')
}

export function newBlob(bytes = 100): Buffer {
  return randomBytes(bytes)
}

export function write(expect: Expectation, blob: Buffer, more: Partial<RecordWrite> = {}): RecordWrite {
  return { expect, blob, ttlMs: LONG_MS, ...more }
}

export const ending: RecordEnding = { blob: Buffer.from('why'), ownedTtlMs: LONG_MS, fenceTtlMs: LONG_MS }

/** A fresh backend for each test of the enclosing `describe`. */
export function freshSubject(create: CreateSubject): () => Subject {
  let subject: Subject | undefined
  beforeEach(async () => {
    subject = await create()
  })
  afterEach(async () => {
    await subject?.backend.close()
  })
  return () => {
    if (subject === undefined) throw new Error('There is a subject inside tests only')
    return subject
  }
}

export async function allHandles(backend: Backend): Promise<string[]> {
  const handles: string[] = []
  for await (const batch of backend.handles()) handles.push(...batch)
  return handles
}
