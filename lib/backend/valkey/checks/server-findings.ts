import type { Finding } from '../../finding.ts'
import type { ServerFacts } from './server-facts.ts'

const OLDEST = { valkey: [7, 2], redis: [7, 0] } as const
const MEMORY_LOW_FROM = 0.8

/** What is wrong with a server, as far as it says so itself. */
export function findingsOf(facts: ServerFacts): readonly Finding[] {
  return [...serverOf(facts), ...memoryOf(facts), ...persistenceOf(facts)]
}

/** What is wrong with how a server writes its append-only file; `undefined` where its configuration may not be read. */
export function fsyncFindings(appendFsync: string | undefined): readonly Finding[] {
  if (appendFsync === undefined) {
    return [
      {
        code: 'fsync-unknown',
        severity: 'unknown',
        message: 'The user may not read the configuration, so how often writes reach the disk is not known',
        action: 'Nothing, if appendfsync is everysec or always; this user should not have the right to look',
      },
    ]
  }
  if (appendFsync !== 'no') return []
  return [
    {
      code: 'fsync-off',
      severity: 'warning',
      message:
        'appendfsync is no: a crash of the machine may lose what was acknowledged up to half a minute ago',
      action: 'Set appendfsync to everysec, or to always where no ending may be lost',
    },
  ]
}

function* serverOf({ product, version, isReplica }: ServerFacts): Iterable<Finding> {
  const [major, minor] = OLDEST[product]
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number)
  if (ownMajor < major || (ownMajor === major && ownMinor < minor)) {
    yield {
      code: 'server-too-old',
      severity: 'error',
      message: `The server is ${product} ${version}`,
      action: 'Use Valkey 7.2 or later, or Redis 7.0 or later',
    }
  }
  if (isReplica) {
    yield {
      code: 'replica',
      severity: 'error',
      message: 'The server is a replica: it refuses writes and may still show what has been ended',
      action: 'Point at the primary, or let "sentinels" or "nodes" find it',
    }
  }
}

function* memoryOf({ evictionPolicy, usedMemoryBytes, maxMemoryBytes }: ServerFacts): Iterable<Finding> {
  if (evictionPolicy !== 'noeviction') {
    yield {
      code: 'eviction-policy',
      severity: 'error',
      message: `maxmemory-policy is ${evictionPolicy}: a full server would drop tombstones, registries and labels`,
      action: 'Set maxmemory-policy to noeviction',
    }
  }
  if (maxMemoryBytes === 0) {
    yield {
      code: 'memory-unlimited',
      severity: 'warning',
      message: 'maxmemory is 0: when memory runs out the operating system ends the server',
      action: 'Set maxmemory to what the machine can spare; docs/OPERATIONS.md says how much is needed',
    }
  } else if (usedMemoryBytes > MEMORY_LOW_FROM * maxMemoryBytes) {
    const percent = Math.floor((100 * usedMemoryBytes) / maxMemoryBytes)
    yield {
      code: 'memory-low',
      severity: 'warning',
      message: `${percent} % of maxmemory is used; at 100 % new records and changes are refused`,
      action: 'Raise maxmemory, or shorten "ttl"',
    }
  }
}

function* persistenceOf({ isAppendOnly }: ServerFacts): Iterable<Finding> {
  if (isAppendOnly) return
  yield {
    code: 'append-only-off',
    severity: 'warning',
    message:
      'appendonly is no: a restart forgets every record, or brings back records ended since the last snapshot',
    action: 'Set appendonly to yes',
  }
}
