import type { Fate, Lookout } from '../backend.ts'
import type { CommandRunner } from './commands/command-runner.ts'
import { classifyFailure, UNREADABLE } from './commands/failures.ts'
import type { ValkeyClient } from './connection/client.ts'
import { addressFor } from './connection/client.ts'
import type { Keys } from './keys.ts'
import {
  decodeExpiry,
  decodeTombstoneValue,
  HEADER_BYTES,
  LAST_TOMBSTONE_BYTE,
  tombstoneOwner,
} from './record-value.ts'

export interface ValkeyLookoutParts {
  /** A runner of its own: a failure here does not count against other calls. */
  readonly commands: CommandRunner
  readonly client: ValkeyClient
  readonly keys: Keys
  readonly registry: Lookout['registry']
  readonly now: () => Promise<number>
}

interface Place {
  keyOf(handle: string): string
  readonly lastByte: number
}

const nothing = Buffer.alloc(0)

/** Looks at many handles at once: the commands for each primary go out together, and each fails on its own. */
export class ValkeyLookout implements Lookout {
  readonly registry: Lookout['registry']
  readonly #parts: ValkeyLookoutParts

  constructor(parts: ValkeyLookoutParts) {
    this.#parts = parts
    this.registry = parts.registry
  }

  async fates(handles: readonly string[]): Promise<readonly (Fate | undefined)[]> {
    const { keys, now } = this.#parts
    const records = await this.#read(handles, { keyOf: keys.record, lastByte: HEADER_BYTES - 1 })
    const expiries = new Map([...records].map(([handle, header]) => [handle, decodeExpiry(header)]))
    const gone = handles.filter((handle) => expiries.has(handle) && expiries.get(handle) === undefined)
    const tombstones = await this.#read(gone, { keyOf: keys.tombstone, lastByte: LAST_TOMBSTONE_BYTE })
    const nowMs = await now().catch(() => Date.now())
    return handles.map((handle) => {
      const expiresAtMs = expiries.get(handle)
      if (expiresAtMs !== undefined) return { state: 'active', leftMs: Math.max(0, expiresAtMs - nowMs) }
      const tombstone = tombstones.get(handle)
      return tombstone && fateOf(tombstone)
    })
  }

  /** The values by handle, without those that could not be read: each primary is asked on its own. */
  async #read(handles: readonly string[], place: Place): Promise<ReadonlyMap<string, Buffer>> {
    const groups = new Map<string | undefined, string[]>()
    for (const handle of handles) {
      const primary = addressFor(this.#parts.client, place.keyOf(handle))
      const group = groups.get(primary)
      if (group) group.push(handle)
      else groups.set(primary, [handle])
    }
    const values = await Promise.all([...groups.values()].map((group) => this.#readGroup(group, place)))
    return new Map(values.flat())
  }

  async #readGroup(
    handles: readonly string[],
    { keyOf, lastByte }: Place,
  ): Promise<readonly (readonly [handle: string, value: Buffer])[]> {
    const keys = handles.map(keyOf)
    let values: readonly Buffer[] | undefined
    const send = async (client: ValkeyClient) => {
      values = await Promise.all(keys.map((key) => bytesOf(client, key, lastByte)))
    }
    try {
      const read = await this.#parts.commands.read({ to: { key: keys[0] }, send, decode: () => values })
      return handles.map((handle, at) => [handle, read[at] ?? nothing] as const)
    } catch {
      return []
    }
  }
}

async function bytesOf(client: ValkeyClient, key: string, lastByte: number): Promise<Buffer> {
  try {
    const value = await client.callBuffer('getrange', key, 0, lastByte)
    return Buffer.isBuffer(value) ? value : nothing
  } catch (error) {
    // Neither a record nor a tombstone, and no reason to know nothing of all the others.
    if (classifyFailure(error).reason === UNREADABLE) return nothing
    throw error
  }
}

function fateOf(tombstone: Buffer): Fate {
  const kept = decodeTombstoneValue(tombstone)
  if (kept === undefined) return { state: 'absent' }
  // An unreadable tombstone is an ending, too: while it exists, nothing can be stored.
  return { state: 'ended', blob: kept === 'unreadable' ? nothing : kept, owner: tombstoneOwner(tombstone) }
}
