import { readFileSync } from 'node:fs'

interface Manifest {
  readonly version: string
  readonly peerDependencies: Readonly<Record<string, string>>
}

/** The text of a file that this package brings along. The program is built into `dist/cli.js`, one folder below its root. */
export function readPackageFile(name: string): string {
  return readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')
}

export function manifest(): Manifest {
  return JSON.parse(readPackageFile('package.json')) as Manifest
}
