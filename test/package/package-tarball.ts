import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT, readLibrary } from './library.ts'

const run = promisify(execFile)

/** Packs what would be published, as npm does it, and answers the tarball's path and what is in it. */
export async function packPackage(folder: string): Promise<{ path: string; files: string[] }> {
  checkBuild()
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const { stdout } = await run('npm', args, { cwd: ROOT, env: { ...process.env, NO_UPDATE_NOTIFIER: '1' } })
  const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }]
  return { path: join(folder, packed.filename), files: packed.files.map(({ path }) => path).sort() }
}

/**
 * Puts the tarball into a project as npm would, without a network: our package is unpacked there, and whatever it and the
 * project depend on is linked from this project's own, and nothing else is.
 */
export async function installPackage(
  project: string,
  tarball: string,
  dependencies: readonly string[],
): Promise<void> {
  const installed = join(project, 'node_modules', 'express-session-valkey')
  mkdirSync(installed, { recursive: true })
  await run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Record<
    string,
    object | undefined
  >
  const ours = [
    ...Object.keys(manifest['dependencies'] ?? {}),
    ...Object.keys(manifest['peerDependencies'] ?? {}),
  ]
  for (const name of new Set([...ours, ...dependencies])) link(name, project)
}

function link(name: string, project: string): void {
  const target = join(project, 'node_modules', name)
  mkdirSync(dirname(target), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules', name), target, 'junction')
}

/** What is packed is what was built, so an old build would be tested in place of the sources. */
function checkBuild(): void {
  const built = join(ROOT, 'dist/index.js')
  const newest = Math.max(...readLibrary().map(({ path }) => statSync(join(ROOT, 'lib', path)).mtimeMs))
  if (!existsSync(built) || statSync(built).mtimeMs < newest) {
    throw new Error('dist/ is missing or older than lib/: npm run build')
  }
}
