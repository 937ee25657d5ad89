import { join } from 'node:path'
import { installed } from './npm-install.ts'

/** The program of a version of Node, from the package that has it. */
export async function nodeProgram(version: string): Promise<string> {
  const folder = await installed(join('node-versions', version), [
    `node@npm:node-${process.platform}-${process.arch}@${version}`,
  ])
  return join(folder, 'node_modules', 'node', 'bin', 'node')
}
