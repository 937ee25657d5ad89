import type { Finding } from '../../finding.ts'
import type { CommandRunner } from '../commands/command-runner.ts'
import { classifyFailure } from '../commands/failures.ts'
import { type Primary, primariesOf } from '../commands/primaries.ts'
import type { CommandSender, ValkeyClient } from '../connection/client.ts'
import { isLoopback } from '../connection/transport.ts'
import { flawsOf } from './client-inspection.ts'

const OLDEST = { valkey: [7, 2], redis: [7, 0] } as const
const MEMORY_LOW_FROM = 0.8

/** Looks at every primary, and at the client. Rejects with `StoreUnavailableError` if one cannot be asked. */
export async function inspectServers(
  commands: CommandRunner,
  { client, acceptsPlaintext }: Inspected,
): Promise<readonly Finding[]> {
  const primaries = await primariesOf(commands)
  const found = await Promise.all(primaries.map((primary) => inspect(commands, primary)))
  return distinct([...clientFindings(client), ...found.flat()]).map((finding) =>
    finding === plaintext && acceptsPlaintext ? acceptedPlaintext : finding,
  )
}

interface Inspected {
  readonly client: ValkeyClient
  /** Whether an option accepts by name that a connection is not encrypted. */
  readonly acceptsPlaintext: boolean
}

/** Returns the problems that an `INFO` reply shows, or that it shows nothing. */
export function infoFindings(reply: unknown): readonly Finding[] {
  const facts = parseServerFacts(String(reply))
  return facts ? findingsOf(facts) : [unseen]
}

const unseen: Finding = {
  code: 'server-unknown',
  severity: 'unknown',
  message: 'The user may not use INFO, so version, role, memory and persistence of the server are not known',
  action: 'Grant it +info',
}

async function inspect(commands: CommandRunner, primary: Primary): Promise<readonly Finding[]> {
  const info = await permitted(commands, primary, ['info'])
  const configuration = await permitted(commands, primary, ['config', 'get', 'appendfsync'])
  const facts: ServerFacts | undefined = parseServerFacts(String(info))
  const appendFsync = Array.isArray(configuration) ? String(configuration[1]) : undefined
  return [
    ...infoFindings(info),
    ...(facts?.isAppendOnly ? fsyncFindings(appendFsync) : []),
    ...(configuration === undefined ? [] : [tooBroad]),
    ...(await transportFindings(commands, primary)),
  ]
}

const tooBroad: Finding = {
  code: 'rights-too-broad',
  severity: 'warning',
  message: 'The user may use CONFIG, with which whoever takes over the app takes over the server',
  action: 'Give the app a user with the ACL in docs/VALKEY.md',
}

const plaintext: Finding = {
  code: 'plaintext',
  severity: 'error',
  message: 'The connection to a server on another machine is not encrypted',
  action: 'Use TLS',
}

const acceptedPlaintext: Finding = {
  ...plaintext,
  severity: 'info',
  action: 'Nothing, if the network is trusted with every login, as an option says',
}

/** Returns `undefined` if the user lacks the right: here a result, not a failed attempt that raises alarms. */
async function permitted(
  commands: CommandRunner,
  primary: Primary,
  [command, ...args]: readonly [string, ...string[]],
): Promise<unknown> {
  const { reply } = await commands.read({
    to: primary,
    send: async (client) => ({
      reply: await unlessDenied((await primary.connection(client)).callBuffer(command, ...args)),
    }),
    decode: (answer) => answer as { readonly reply: unknown },
  })
  return reply
}

async function unlessDenied(reply: Promise<unknown>): Promise<unknown> {
  try {
    return await reply
  } catch (error) {
    if (classifyFailure(error).reason === 'no-permission') return undefined
    throw error
  }
}

async function transportFindings(commands: CommandRunner, primary: Primary): Promise<readonly Finding[]> {
  const send = (client: ValkeyClient) => primary.connection(client)
  return plaintextOf(await commands.read({ to: primary, send, decode: (reply) => reply as CommandSender }))
}

/** By the socket itself: sentinels and clusters name servers that no option knows. */
export function plaintextOf(runner: CommandSender): readonly Finding[] {
  const { stream } = runner as {
    readonly stream?: { readonly encrypted?: boolean; readonly remoteAddress?: string }
  }
  const isPlain = stream !== undefined && stream.encrypted !== true && !isLoopback(stream.remoteAddress)
  return isPlain ? [plaintext] : []
}

function clientFindings(client: ValkeyClient): readonly Finding[] {
  return flawsOf(client)
    .filter(({ setting }) => setting !== 'tls')
    .map(({ setting, remedy }) => ({
      code: 'unsafe-client-setting',
      severity: 'info',
      message: `"${setting}" of the client was accepted by name`,
      action: `It should be ${remedy}`,
    }))
}

/** Each finding once, however many servers it is true of. */
export function distinct(findings: readonly Finding[]): readonly Finding[] {
  return [...new Map(findings.map((finding) => [`${finding.code} ${finding.message}`, finding])).values()]
}

/** What a server says of itself in its `INFO`. */
export interface ServerFacts {
  readonly product: 'valkey' | 'redis'
  readonly version: string
  readonly isReplica: boolean
  readonly evictionPolicy: string
  readonly usedMemoryBytes: number
  /** 0 for no limit. */
  readonly maxMemoryBytes: number
  readonly isAppendOnly: boolean
}

/** Returns `undefined` if it is not a reply to `INFO`. */
export function parseServerFacts(info: string): ServerFacts | undefined {
  const fields = new Map(
    info.split('\n').flatMap((line) => {
      const colon = line.indexOf(':')
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1).trim()] as const]
    }),
  )
  const valkeyVersion = fields.get('valkey_version')
  const version = valkeyVersion ?? fields.get('redis_version')
  const evictionPolicy = fields.get('maxmemory_policy')
  if (version === undefined || evictionPolicy === undefined) return undefined
  return {
    product: valkeyVersion === undefined ? 'redis' : 'valkey',
    version,
    isReplica: fields.get('role') === 'slave',
    evictionPolicy,
    usedMemoryBytes: Number(fields.get('used_memory') ?? 0),
    maxMemoryBytes: Number(fields.get('maxmemory') ?? 0),
    isAppendOnly: fields.get('aof_enabled') === '1',
  }
}

/** What is wrong with a server, as far as it says so itself. */
export function findingsOf(facts: ServerFacts): readonly Finding[] {
  return [...serverOf(facts), ...memoryOf(facts), ...persistenceOf(facts)]
}

/** What is wrong with how a server writes its append-only file; `undefined` where its configuration may not be read. */
function fsyncFindings(appendFsync: string | undefined): readonly Finding[] {
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
