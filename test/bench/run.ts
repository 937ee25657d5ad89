// Runs the measurements in this folder, each in a process of its own: npm run bench [-- <name> [its arguments]]
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const [wanted, ...args] = process.argv.slice(2)
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -3))
if (wanted !== undefined && !names.includes(wanted)) throw new Error(`There is ${names.join(', ')}`)

for (const name of wanted === undefined ? names : [wanted]) {
  console.log(`\n${name}`)
  const { status } = spawnSync('tsx', [join(import.meta.dirname, `${name}.ts`), ...args], {
    stdio: 'inherit',
  })
  process.exitCode ||= status ?? 1
}
