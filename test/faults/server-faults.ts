import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'iovalkey'
import { until } from '../support/until.ts'
import type { ValkeyServer } from '../support/valkey.ts'
import type { FaultKind } from './fault-kind.ts'

export interface ServerFaultTerms {
  readonly server: ValkeyServer
  /** Signed in as somebody whom no fault locks out. */
  readonly admin: Redis
  /** One more such client, for commands that block. */
  readonly blocked: Redis
  /** The stores' ACL user, and its rights as `ACL SETUSER` takes them. */
  readonly user: string
  readonly rights: readonly string[]
}

/** What a server does to all its clients. Whatever was acknowledged before is still there afterwards. */
export function serverFaults(terms: ServerFaultTerms): readonly FaultKind[] {
  return [...stops(terms), ...refusals(terms), ...rightsFaults(terms)]
}

type Undo = () => Promise<void>
const nothing: Undo = async () => undefined

function stops({ server, admin, blocked }: ServerFaultTerms): readonly FaultKind[] {
  return [
    kind('freeze', [50, 400], 4, async () => {
      await server.freeze()
      return () => server.thaw()
    }),
    kind('crash and restart', [0, 100], 2, async () => {
      await server.kill('SIGKILL')
      return () => server.restart()
    }),
    kind('pause of writes', [50, 250], 4, async () => {
      await admin.client('PAUSE', 10_000, 'WRITE')
      return async () => void (await admin.client('UNPAUSE'))
    }),
    // UNPAUSE would be paused too.
    kind('pause of everything', [0, 10], 3, async (random) => {
      await admin.client('PAUSE', random.between(50, 250), 'ALL')
      return async () => void (await admin.ping())
    }),
    kind('slow command', [0, 10], 3, async (random) => {
      const slept = admin.call('DEBUG', 'SLEEP', random.between(50, 250) / 1000)
      return async () => void (await slept)
    }),
    kind('endless script', [60, 200], 3, async () => endlessScript(admin, blocked)),
  ]
}

function endlessScript(admin: Redis, blocked: Redis): Undo {
  let isOver = false
  const script = blocked.eval('while true do end', 0).then(
    () => undefined,
    () => {
      isOver = true
    },
  )
  return async () => {
    // Killed before it has begun, it would begin afterwards.
    await until(async () => isOver || (await killed(admin)) || isOver, {
      what: 'the endless script has ended',
    })
    await script
  }
}

async function killed(admin: Redis): Promise<boolean> {
  return admin.call('SCRIPT', 'KILL').then(
    () => true,
    () => false,
  )
}

function refusals({ server, admin }: ServerFaultTerms): readonly FaultKind[] {
  return [
    kind('full memory', [50, 300], 5, () => configured(admin, 'maxmemory', ['1mb', '0'])),
    kind('no replica', [50, 200], 3, () => configured(admin, 'min-replicas-to-write', ['1', '0'])),
    kind('scripts forgotten', [0, 5], 4, async () => {
      await admin.script('FLUSH')
      return nothing
    }),
    kind('connections killed', [0, 5], 4, async () => {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      return nothing
    }),
    kind('demotion to replica', [50, 300], 4, async () => {
      await admin.replicaof('127.0.0.1', 1)
      return async () => void (await admin.replicaof('NO', 'ONE'))
    }),
    kind('failed snapshot', [50, 200], 2, () => failedSnapshot(server, admin)),
  ]
}

async function configured(
  admin: Redis,
  name: string,
  [wrong, right]: readonly [string, string],
): Promise<Undo> {
  await admin.config('SET', name, wrong)
  return async () => void (await admin.config('SET', name, right))
}

// The server refuses writes while it is to take snapshots and the last one failed.
async function failedSnapshot(server: ValkeyServer, admin: Redis): Promise<Undo> {
  const file = join(server.dir, 'dump.rdb')
  rmSync(file, { recursive: true, force: true })
  mkdirSync(file)
  await admin.config('SET', 'save', '100000 100000')
  // Again and again: one that is asked for while another child of the server runs is refused.
  const hasFailed = async () => {
    await admin.bgsave().catch(() => undefined)
    return (await admin.info('persistence')).includes('rdb_last_bgsave_status:err')
  }
  await until(hasFailed, { withinMs: 30_000, everyMs: 50, what: 'the snapshot has failed' })
  return async () => {
    await admin.config('SET', 'save', '')
    // One that is still under way would find the place free, and succeed.
    const isIdle = async () => (await admin.info('persistence')).includes('rdb_bgsave_in_progress:0')
    await until(isIdle, { withinMs: 30_000, what: 'no snapshot is being taken' })
    rmSync(file, { recursive: true, force: true })
  }
}

function rightsFaults({ admin, user, rights }: ServerFaultTerms): readonly FaultKind[] {
  const restored: Undo = async () => void (await admin.acl('SETUSER', user, 'on', ...rights))
  return [
    kind('rights taken away', [50, 200], 4, async (random) => {
      await admin.acl(
        'SETUSER',
        user,
        `-${random.pick(['getrange', 'evalsha', 'set', 'unlink', 'zadd', 'time']) ?? 'get'}`,
      )
      return restored
    }),
    kind('account locked', [50, 200], 3, async () => {
      await admin.acl('SETUSER', user, 'off')
      await admin.call('CLIENT', 'KILL', 'USER', user)
      return restored
    }),
  ]
}

function kind(
  name: string,
  lastsMs: readonly [number, number],
  weight: number,
  begin: FaultKind['begin'],
): FaultKind {
  return { name, lastsMs, weight, begin }
}
