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

/** `undefined` if it is not what a server answers to `INFO`. */
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
