import type { Finding } from '../../finding.ts'
import type { CommandRunner } from '../commands/command-runner.ts'
import { classifyFailure } from '../commands/failures.ts'
import { type Primary, primariesOf } from '../commands/primaries.ts'
import type { CommandSender, ValkeyClient } from '../connection/client.ts'
import { isLoopback } from '../connection/transport.ts'
import { flawsOf } from './client-inspection.ts'
import { parseServerFacts, type ServerFacts } from './server-facts.ts'
import { findingsOf, fsyncFindings } from './server-findings.ts'

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

/** What an `INFO` reply tells against a server, or that it tells nothing. */
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

/** `undefined` if the user lacks the right: an answer here, and no attempt that failed, of which alarms would tell. */
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
