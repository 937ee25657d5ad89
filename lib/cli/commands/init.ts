import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, EXIT, UsageError } from '../command.ts'
import { printable } from '../output.ts'
import { manifest, readPackageFile } from '../package-files.ts'

export const init: Command = {
  name: 'init',
  operand: '<folder>',
  summary: 'write an example app into a new or empty folder',
  flags: {},
  async run({ operand: folder, output }) {
    if (folder === undefined || folder === '') throw new UsageError('"init" needs a folder; "." is this one')
    const files = exampleApp()
    writeInto(folder, files)
    const names = Object.keys(files)
    output.print({ folder, files: names }, `Wrote ${names.join(', ')}.\n\n${nextSteps(printable(folder))}`)
    return EXIT.ok
  },
}

/** The files of the app by their names. Each call makes secrets of its own. */
function exampleApp(): Readonly<Record<string, string>> {
  const { version, peerDependencies } = manifest()
  const program = {
    private: true,
    type: 'module',
    scripts: {
      prestart: 'npm install --no-audit --no-fund',
      start: 'node --env-file=.env server.js',
      doctor: 'node --env-file=.env node_modules/express-session-valkey/dist/cli.js doctor',
    },
    dependencies: {
      express: '^5.0.0',
      'express-session': peerDependencies['express-session'],
      'express-session-valkey': `^${version}`,
    },
  }
  return {
    'package.json': `${JSON.stringify(program, null, 2)}\n`,
    'server.js': readPackageFile('examples/app/server.js'),
    'compose.yaml': readPackageFile('examples/app/compose.yaml'),
    '.env': environment(),
    // Packed as a file, it would choose what is packed.
    '.gitignore': 'node_modules/\n.env\n',
  }
}

function environment(): string {
  return [
    '# Where sessions are kept. Without it, in the process.',
    '# VALKEY_URL=valkey://127.0.0.1:6379',
    '',
    '# Seal the sessions: the newest first, separated by commas.',
    `SESSION_KEYS=${secret()}`,
    'SESSION_ENCRYPT=true',
    '',
    '# Signs the cookie.',
    `COOKIE_SECRET=${secret()}`,
    '',
  ].join('\n')
}

function secret(): string {
  return randomBytes(32).toString('hex')
}

// "wx" refuses a file that came after the look.
function writeInto(folder: string, files: Readonly<Record<string, string>>): void {
  try {
    mkdirSync(folder, { recursive: true })
    if (readdirSync(folder).length > 0) throw new UsageError('the folder is not empty; nothing was written')
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(folder, name), text, { flag: 'wx', mode: name === '.env' ? 0o600 : 0o644 })
  } catch (error) {
    if (error instanceof UsageError) throw error
    const { code = 'unknown' } = Object(error) as { code?: string }
    throw new UsageError(`the folder cannot be written (${code})`)
  }
}

function nextSteps(folder: string): string {
  return [
    'Next:',
    ...(folder === '.' ? [] : [`  cd ${folder}`]),
    '  npm start               installs what the app needs, and serves http://127.0.0.1:3000',
    '',
    'Sessions are kept in the process at first. To keep them on Valkey:',
    '  docker compose up -d    starts one, if you have none',
    '  set VALKEY_URL in .env',
    '  npm run doctor          checks it',
  ].join('\n')
}
