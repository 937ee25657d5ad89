import { HEADER_BYTES } from '../../backend/valkey/record-value.ts'
import { decodeEnvelope } from '../../seal/envelope.ts'
import type { Sealer } from '../../seal/sealer.ts'
import type { SessionRecords } from '../../session/records.ts'
import { type Command, EXIT, type Invocation } from '../command.ts'
import { Histogram, sizeOf } from '../histogram.ts'
import { duration } from '../progress.ts'
import { CONNECTION_FLAGS, SECRET_FLAGS } from '../settings.ts'
import { countAll, recordsOf, type Site, sealerOf, withSite } from '../site.ts'
import { walk } from '../walk.ts'

const MAX_BLOB_BYTES = 32 * 1024 * 1024
const AGES_S = [60, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400]
const SIZES = [256, 512, 1024, 2048, 4096, 8192, 16_384, 65_536]

export const stats: Command = {
  name: 'stats',
  summary: 'count sessions and bytes, blobs by key id, and draw their ages and sizes',
  flags: {
    ...CONNECTION_FLAGS,
    ...SECRET_FLAGS,
    sample: { value: 'N', help: 'read about one session in N; all are counted' },
    rate: { value: 'N', help: 'visit at most N sessions a second' },
  },
  run: (invocation) =>
    withSite(invocation, async (site) => {
      const { output, signal } = invocation
      const census = new Census(site, sealerOf(invocation))
      const every = invocation.number('sample') ?? 1
      const isWhole = await walk({
        pages: site.backend.handles(),
        // The scan's order has nothing to do with what the sessions are.
        visit: (handle) => census.visit(handle, every),
        progress: output.progress('keys', await countAll(site)),
        signal,
        rate: invocation.number('rate'),
      })
      report(invocation, census, isWhole)
      if (!isWhole) output.note('Interrupted: what was visited so far.')
      return isWhole ? EXIT.ok : EXIT.interrupted
    }),
}

/** Counts what it is shown; its memory does not grow with it. */
class Census {
  readonly #site: Site
  readonly #records: SessionRecords | undefined
  sessions = 0
  read = 0
  bytes = 0
  unopened = 0
  readonly keyIds = new Map<string, number>()
  readonly ages = new Histogram(AGES_S, duration)
  readonly left = new Histogram(AGES_S, duration)
  readonly sizes = new Histogram(SIZES, sizeOf)

  constructor(site: Site, sealer: Sealer | undefined) {
    this.#site = site
    this.#records = sealer && recordsOf(sealer, site)
  }

  async visit(handle: string, every: number): Promise<void> {
    this.sessions += 1
    if (this.sessions % every !== 0) return
    const found = await this.#site.backend.get(handle, MAX_BLOB_BYTES)
    if (found === undefined) return
    this.read += 1
    const keyId = found === 'unreadable' ? undefined : decodeEnvelope(found.blob)?.keyId.toString('hex')
    this.#count(keyId ?? 'unreadable')
    if (found === 'unreadable') return
    const bytes = found.blob.length + HEADER_BYTES
    this.bytes += bytes
    this.sizes.add(bytes)
    const nowMs = await this.#site.backend.now()
    this.left.add((found.expiresAtMs - nowMs) / 1000)
    const createdAtMs = await this.#createdAtMs(handle, found.blob)
    if (createdAtMs === undefined) this.unopened += 1
    else this.ages.add((nowMs - createdAtMs) / 1000)
  }

  async #createdAtMs(handle: string, blob: Buffer): Promise<number | undefined> {
    return (await this.#records?.headOf(handle, blob))?.meta.createdAtMs
  }

  // Whoever can write to the server can plant any number of ids.
  #count(keyId: string): void {
    const name = this.keyIds.has(keyId) || this.keyIds.size < 100 ? keyId : 'others'
    this.keyIds.set(name, (this.keyIds.get(name) ?? 0) + 1)
  }
}

function report({ output }: Invocation, census: Census, isWhole: boolean): void {
  const { sessions, read, bytes, unopened, ages, left, sizes } = census
  const estimated = read === 0 ? 0 : Math.round((bytes / read) * sessions)
  const keyIds = Object.fromEntries([...census.keyIds].sort(([, one], [, other]) => other - one))
  const counts = { sessions, read, bytes: estimated, unopened, keyIds }
  const value = { ...counts, ages: ages.counts(), left: left.counts(), sizes: sizes.counts(), isWhole }
  const text = [
    `${sessions} sessions, ${sizeOf(estimated)} of values${read === sessions ? '' : `, by ${read} that were read`}`,
    ...Object.entries(keyIds).map(([id, count]) => `  key ${id}: ${count}`),
    ...(unopened > 0 ? [`  not opened: ${unopened}`] : []),
    ...(unopened < read ? ['', 'age', ages.draw()] : []),
    '',
    'time left',
    left.draw(),
    '',
    'size',
    sizes.draw(),
  ]
  output.print(value, text.join('\n'))
}
