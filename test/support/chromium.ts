import { existsSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { unpackPackages } from './debian-packages.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

interface Program {
  readonly executablePath: string
  readonly env?: Readonly<Record<string, string>>
}

/**
 * A real, headless Chromium with a profile of its own: the one that the variable `CHROMIUM` names, else one on the
 * PATH, else Debian's, unpacked into the project's cache. Rejects if there is none: a test without its browser fails.
 */
export async function launchChromium(): Promise<Browser> {
  const { executablePath, env } = await findChromium()
  return chromium.launch({
    executablePath,
    headless: true,
    args: FLAGS,
    env: { ...definedEnvironment(), ...env },
  })
}

async function findChromium(): Promise<Program> {
  const named = process.env['CHROMIUM']
  if (named) {
    if (existsSync(named)) return { executablePath: named }
    throw new Error(`CHROMIUM names ${named}, which does not exist`)
  }
  const found = onPath()
  return found === undefined ? unpackChromium() : { executablePath: found }
}

function onPath(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path))
}

async function unpackChromium(): Promise<Program> {
  try {
    const { root, env } = await unpackPackages({
      name: 'chromium',
      packages: ['chromium', 'fonts-dejavu-core'],
    })
    return { executablePath: join(root, 'usr/lib/chromium/chromium'), env: { ...env, ...fontSettings(root) } }
  } catch (cause) {
    throw new Error(
      'No Chromium for the page tests: install one (on Debian: apt-get install chromium) or name one in CHROMIUM',
      {
        cause,
      },
    )
  }
}

// A machine without a browser may have no fonts either, and fontconfig looks for them in absolute places.
function fontSettings(root: string): Record<string, string> {
  if (existsSync('/etc/fonts/fonts.conf')) return {}
  const file = join(root, 'fonts.conf')
  const places = `<dir>${join(root, 'usr/share/fonts')}</dir><cachedir>${join(root, 'fontcache')}</cachedir>`
  writeFileSync(file, `<?xml version="1.0"?><fontconfig>${places}</fontconfig>\n`)
  return { FONTCONFIG_FILE: file }
}

function definedEnvironment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
