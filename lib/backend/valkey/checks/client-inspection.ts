import { isLoopback, tlsFlaw } from '../connection/transport.ts'

/** A setting of a client that breaks a promise of ours. */
export interface ClientFlaw {
  readonly setting: ClientSetting
  readonly remedy: string
}

/** A setting of a client that can break what the store promises. */
export type ClientSetting =
  | 'autoResendUnfulfilledCommands'
  | 'db'
  | 'enableAutoPipelining'
  | 'enableOfflineQueue'
  | 'keyPrefix'
  | 'maxRetriesPerRequest'
  | 'readOnly'
  | 'reconnectOnError'
  | 'replyMapping'
  | 'retryDelayOnFailover'
  | 'retryStrategy'
  | 'role'
  | 'scaleReads'
  | 'socketTimeout'
  | 'stringNumbers'
  | 'tls'

export const CLIENT_SETTINGS: readonly ClientSetting[] = [
  'autoResendUnfulfilledCommands',
  'db',
  'enableAutoPipelining',
  'enableOfflineQueue',
  'keyPrefix',
  'maxRetriesPerRequest',
  'readOnly',
  'reconnectOnError',
  'replyMapping',
  'retryDelayOnFailover',
  'retryStrategy',
  'role',
  'scaleReads',
  'socketTimeout',
  'stringNumbers',
  'tls',
]

type Settings = Readonly<Record<string, unknown>>

interface Rule {
  readonly setting: ClientSetting
  readonly isBroken: (value: unknown) => boolean
  readonly remedy: string
}

const READONLY_REPLY = new Error("READONLY You can't write against a read only replica.")

/** Whatever the client is. */
const COMMON: readonly Rule[] = [
  {
    setting: 'enableAutoPipelining',
    isBroken: (value) => value === true,
    // iovalkey 0.4.0 throws outside of every promise when `call` is used with it.
    remedy: 'false: with it a command can end the process',
  },
  {
    setting: 'enableOfflineQueue',
    isBroken: (value) => value !== false,
    remedy: 'false: what waits in the queue is applied after its caller was told that it failed',
  },
  {
    setting: 'keyPrefix',
    isBroken: (value) => typeof value === 'string' && value !== '',
    remedy: 'left out: the store has a "prefix" of its own',
  },
  {
    setting: 'readOnly',
    isBroken: (value) => value === true,
    remedy: 'false: a replica still shows what has been ended',
  },
  {
    setting: 'replyMapping',
    isBroken: (value) => value === 'resp3',
    remedy: "'legacy': replies would not be understood",
  },
  {
    setting: 'socketTimeout',
    isBroken: (value) => typeof value !== 'number' || value <= 0,
    remedy: 'twice the command timeout: without it a half-open connection is never left',
  },
  {
    setting: 'stringNumbers',
    isBroken: (value) => value === true,
    remedy: 'false: replies would not be understood',
  },
]

const SINGLE: readonly Rule[] = [
  ...COMMON,
  {
    setting: 'autoResendUnfulfilledCommands',
    isBroken: (value) => value === false,
    remedy: 'true: without it a command in flight never settles when its connection closes',
  },
  {
    setting: 'maxRetriesPerRequest',
    isBroken: (value) => value !== 0,
    remedy: '0: otherwise a command is sent again behind our back, at any later time',
  },
  {
    setting: 'reconnectOnError',
    isBroken: (value) => !reconnectsOn(value, READONLY_REPLY),
    remedy:
      'a function that answers true to READONLY: after a failover the client would stay with the old primary',
  },
  {
    setting: 'retryStrategy',
    isBroken: (value) => typeof value !== 'function',
    remedy: 'a function with full jitter: without one the client never connects again',
  },
  {
    setting: 'role',
    isBroken: (value) => value === 'slave',
    remedy: "'master': a replica still shows what has been ended",
  },
]

const CLUSTER: readonly Rule[] = [
  ...COMMON,
  {
    setting: 'db',
    isBroken: (value) => value !== undefined && value !== 0,
    remedy: 'left out: where the nodes refuse it the client goes on with database 0',
  },
  {
    setting: 'retryDelayOnFailover',
    isBroken: (value) => value !== 0,
    remedy: '0: otherwise a write is sent again behind our back, which looks like a first attempt',
  },
  {
    setting: 'scaleReads',
    isBroken: (value) => value !== undefined && value !== 'master',
    remedy: "'master': a replica still shows what has been ended",
  },
]

/** What is wrong with the settings of a client that was handed in. One that shows no settings cannot be judged. */
export function flawsOf(client: object): readonly ClientFlaw[] {
  const { options, startupNodes } = client as { readonly options?: Settings; readonly startupNodes?: unknown }
  if (typeof options !== 'object' || options === null) return []
  const isCluster = Array.isArray(startupNodes)
  const settings = isCluster ? clusterSettings(options) : options
  const broken = (isCluster ? CLUSTER : SINGLE).filter(({ setting, isBroken }) => isBroken(settings[setting]))
  return [
    ...broken.map(({ setting, remedy }) => ({ setting, remedy })),
    ...plaintextOf(isCluster ? startupNodes : addressesOf(settings), settings),
  ]
}

function clusterSettings(options: Settings): Settings {
  const ofNodes = (options['redisOptions'] ?? {}) as Settings
  const enableAutoPipelining = [options, ofNodes].some(
    (settings) => settings['enableAutoPipelining'] === true,
  )
  return { ...ofNodes, ...options, enableAutoPipelining }
}

function plaintextOf(addresses: readonly unknown[], settings: Settings): readonly ClientFlaw[] {
  const used = usedTls(settings)
  const isElsewhere = addresses.some((address) => !isLoopback(hostOf(address)))
  if (isElsewhere && !used.every(Boolean)) return [{ setting: 'tls', remedy: missingTls(settings) }]
  const flaw = used.map((tls) => (typeof tls === 'object' && tls ? tlsFlaw(tls) : undefined)).find(Boolean)
  return flaw ? [{ setting: 'tls', remedy: `an object with "${flaw.option}" ${flaw.remedy}` }] : []
}

function missingTls({ sentinels }: Settings): string {
  const beside = Array.isArray(sentinels) ? ', with "enableTLSForSentinelMode" and "sentinelTLS"' : ''
  return `given${beside}: the server is not on this machine`
}

// With sentinels the connection to the primary is plain, whatever `tls` says, unless that is enabled; and those to the
// sentinels, who could be overheard and made to name another primary, have options of their own. A client that was
// given a rediss:// URL shows `true`.
function usedTls({ tls, sentinels, sentinelTLS, enableTLSForSentinelMode }: Settings): readonly unknown[] {
  return Array.isArray(sentinels) ? [enableTLSForSentinelMode && tls, sentinelTLS] : [tls]
}

function addressesOf({ path, host, sentinels }: Settings): readonly unknown[] {
  if (typeof path === 'string') return []
  return Array.isArray(sentinels) ? sentinels : [{ host }]
}

/** A cluster client also takes nodes as ports and as URLs. */
function hostOf(address: unknown): string | undefined {
  if (typeof address === 'number') return undefined
  if (typeof address === 'string') return hostIn(address)
  const host: unknown = (address as Settings)['host']
  return typeof host === 'string' ? host : undefined
}

function hostIn(address: string): string | undefined {
  if (/^\d+$/.test(address)) return undefined
  if (!address.includes('//')) return address.split(':')[0]
  // The client reads more than this: one that is no URL, whose error would quote a password, is taken for elsewhere.
  return URL.canParse(address) ? new URL(address).hostname.replace(/^\[|\]$/g, '') : address
}

// 2 would also send the command again, which a client without an offline queue cannot do and fails with another error.
function reconnectsOn(decide: unknown, error: Error): boolean {
  const decision: unknown = typeof decide === 'function' ? Reflect.apply(decide, undefined, [error]) : false
  return decision === true || decision === 1
}
