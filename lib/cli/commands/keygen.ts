import { randomBytes } from 'node:crypto'
import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { type Command, EXIT, UsageError } from '../command.ts'
import { readText } from '../settings.ts'

const SECRET_BYTES = 32

export const keygen: Command = {
  name: 'keygen',
  summary: 'make a secret that seals sessions',
  flags: {
    'secrets-file': {
      value: 'FILE',
      help: 'put it before the secrets of this file, which only its owner may read, and print nothing',
    },
    last: { help: 'put it after them: step 1 of a rotation, in which nothing is sealed with it yet' },
  },
  async run(invocation) {
    const secret = randomBytes(SECRET_BYTES).toString('hex')
    const file = invocation.text('secrets-file')
    const isLast = invocation.has('last')
    if (file === undefined) {
      if (isLast) throw new UsageError('--last needs --secrets-file')
      invocation.output.print({ secret }, secret)
    } else addTo(file, secret, isLast)
    return EXIT.ok
  },
}

// Renamed into its place: an app that reads the file meanwhile finds all of it.
function addTo(file: string, secret: string, isLast: boolean): void {
  const before = existsSync(file) ? readText(file).split('\n').filter(Boolean) : []
  const secrets = isLast ? [...before, secret] : [secret, ...before]
  writeFileSync(`${file}.new`, `${secrets.join('\n')}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
