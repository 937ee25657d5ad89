import { SessionInvalidError, SessionUnknownKeyError } from '../../errors.ts'
import type { SessionRecords } from '../../session/records.ts'
import { type Command, EXIT, UsageError } from '../command.ts'
import { CONNECTION_FLAGS, SECRET_FLAGS } from '../settings.ts'
import { countAll, recordsOf, type Site, sealerOf, withSite } from '../site.ts'
import { Tally } from '../tally.ts'
import { walk } from '../walk.ts'

const DEFAULT_RATE = 1000
// A request that saves at the same time wins; it does not save without end.
const MAX_TRIES = 5

type Outcome = 'rewrapped' | 'current' | 'gone' | 'busy' | 'unknown-key' | 'invalid'

export const rewrap: Command = {
  name: 'rewrap',
  summary: 'seal every session with the first secret, so that the others can go',
  flags: {
    ...CONNECTION_FLAGS,
    ...SECRET_FLAGS,
    rate: { value: 'N', help: `visit at most N sessions a second [${DEFAULT_RATE}]` },
    'dry-run': { help: 'only count what is sealed with which' },
  },
  run: (invocation) =>
    withSite(invocation, async (site) => {
      const { output, signal } = invocation
      const sealer = sealerOf(invocation)
      if (sealer === undefined)
        throw new UsageError('give the secrets of the store: SESSION_KEYS or --secrets-file')
      const tally = new Tally<Outcome>()
      const records = recordsOf(sealer, site)
      const isDry = invocation.has('dry-run')
      const isWhole = await walk({
        pages: site.backend.handles(),
        visit: async (handle) => tally.count(await sealAnew(handle, { records, site, isDry })),
        progress: output.progress('keys', await countAll(site)),
        signal,
        rate: invocation.number('rate') ?? DEFAULT_RATE,
      })
      output.print({ ...tally.counts, isWhole }, tally.text())
      if (!isWhole) {
        output.note('Interrupted. Run it again: what is sealed with the first secret is passed over.')
        return EXIT.interrupted
      }
      return tally.of('busy', 'unknown-key', 'invalid') > 0 ? EXIT.found : EXIT.ok
    }),
}

interface RewrapParts {
  readonly records: SessionRecords
  readonly site: Site
  readonly isDry: boolean
}

/** Replaces exactly the version that was read, and never brings its expiry nearer: a request in between loses nothing. */
async function sealAnew(handle: string, { records, site, isDry }: RewrapParts): Promise<Outcome> {
  try {
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const record = await records.read(handle)
      if (record === undefined) return 'gone'
      if (record.isCurrent) return 'current'
      if (isDry) return 'rewrapped'
      const ttlMs = Math.max(1, record.expiresAtMs - (await site.backend.now()))
      const sealed = await records.seal(record.kind, handle, record)
      const expect = { kind: 'version', etag: record.etag } as const
      const result = await records.put(sealed, { expect, ttlMs, isExtension: true })
      if ('error' in result) throw result.error
      if (result.outcome === 'stored') return 'rewrapped'
      if (result.outcome === 'gone' || result.outcome === 'ended') return 'gone'
    }
    return 'busy'
  } catch (error) {
    if (error instanceof SessionUnknownKeyError) return 'unknown-key'
    if (error instanceof SessionInvalidError) return 'invalid'
    throw error
  }
}
