import { createHash } from 'node:crypto'
import { parsePrefix } from '../../backend/valkey/keys.ts'
import { type Command, EXIT, type Flags, type Invocation, UsageError } from '../command.ts'
import { prefixOf, readText } from '../settings.ts'

/** docs/VALKEY.md says which verb needs which; a test holds both together. */
const RIGHTS = [
  '+getrange +set +setrange +strlen +type +exists +unlink +pexpireat +time +scan +eval +evalsha +ping +info',
  '+publish +subscribe',
  '+hget +hset +hdel +hmget +hstrlen +zadd +zrem +zcard +zcount +zscore +zmscore +zrange +zremrangebyrank',
  '+pexpiretime',
]

const FORMS = ['valkey-cli', 'shell', 'aclfile'] as const

const flags: Flags = {
  prefix: { value: 'PREFIX', help: 'the prefix of the store [SESSION_PREFIX, or sess]' },
  user: { value: 'NAME', help: 'the ACL user [app]' },
  'app-password-file': { value: 'FILE', help: 'its password, shown as SHA-256; else VALKEY_APP_PASSWORD' },
  form: { value: FORMS.join('|'), help: 'where the line goes [valkey-cli]' },
  cluster: { help: 'for a cluster' },
  replicas: { help: 'for endings with "replicas"' },
  'connection-name': { help: 'for a "connectionName"' },
  database: { help: 'for a database other than 0' },
  'legacy-prefix': { value: 'PREFIX', help: 'also for "legacy" and import: the keys of connect-redis' },
}

export const acl: Command = {
  name: 'acl',
  summary: 'print the least rights of the user that a store needs',
  flags,
  async run(invocation) {
    const form = invocation.oneOf('form', FORMS) ?? 'valkey-cli'
    const user = invocation.text('user') ?? 'app'
    if (!/^[\w.-]{1,64}$/.test(user)) throw new UsageError('--user must be 1 to 64 of A-Z a-z 0-9 _ . -')
    const rules = rulesOf(invocation)
    const line = `${user} on ${passwordRule(invocation)} ${rules}`
    const command = `ACL SETUSER ${user} reset on ${passwordRule(invocation)} ${rules}`
    const text = { aclfile: `user ${line}`, 'valkey-cli': command, shell: shellOf(command) }[form]
    invocation.output.print({ user, rules, line: text }, text)
    return EXIT.ok
  },
}

function rulesOf(invocation: Invocation): string {
  const prefix = checkedPrefix(prefixOf(invocation))
  const legacy = invocation.text('legacy-prefix')
  if (legacy !== undefined && !/^[\w.:-]{1,64}$/.test(legacy))
    throw new UsageError('--legacy-prefix must be 1 to 64 of A-Z a-z 0-9 _ . : -')
  return [
    `resetchannels &${prefix}:n ~${prefix}:*`,
    ...(legacy === undefined ? [] : [`~${legacy}*`]),
    '-@all',
    ...RIGHTS,
    ...(invocation.has('cluster') ? ['+cluster|slots +cluster|info'] : []),
    ...(invocation.has('replicas') ? ['+wait'] : []),
    ...(invocation.has('connection-name') ? ['+client|setname'] : []),
    ...(invocation.has('database') ? ['+select'] : []),
    ...(legacy === undefined ? [] : ['+pttl +pexpire']),
  ].join(' ')
}

function checkedPrefix(prefix: string): string {
  try {
    return parsePrefix(prefix)
  } catch {
    throw new UsageError('--prefix must be 1 to 64 of A-Z a-z 0-9 : _ -')
  }
}

// The hash alone: the password itself is never printed.
function passwordRule(invocation: Invocation): string {
  const file = invocation.text('app-password-file')
  const password = file === undefined ? invocation.env['VALKEY_APP_PASSWORD'] : readText(file).trim()
  if (!password) return '>PASSWORD'
  return `#${createHash('sha256').update(password).digest('hex')}`
}

function shellOf(command: string): string {
  const words = command.split(' ').map((word) => (/^[\w+:.-]+$/.test(word) ? word : `'${word}'`))
  return `valkey-cli ${words.join(' ')}`
}
