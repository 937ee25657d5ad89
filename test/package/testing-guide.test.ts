import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { fencesOf } from './code-fences.ts'
import { ROOT } from './library.ts'

const PAGE = 'docs/guide/testing.md'
// In the project's own folder, where its name means the built package.
const FOLDER = join(ROOT, '.cache', 'testing-guide')

it('The tests in docs/guide/testing.md run, and pass', async () => {
  const fences = fencesOf(PAGE, readFileSync(join(ROOT, PAGE), 'utf8'))
  mkdirSync(FOLDER, { recursive: true })
  onTestFinished(() => rmSync(FOLDER, { recursive: true, force: true }))
  const files = fences.map(({ line, code }) => {
    const file = join(FOLDER, `line-${line}.test.ts`)
    writeFileSync(file, code)
    return file
  })
  const args = ['--import', 'tsx', '--test', '--test-reporter', 'tap', ...files]
  const env = { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: undefined }
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env })

  expect(files).toHaveLength(2)
  expect(stdout).toMatch(/^# pass 4$/m)
  expect(stdout).toMatch(/^# fail 0$/m)
})
