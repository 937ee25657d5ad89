import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { startProgram } from '../support/program.ts'
import { fencesOf } from './code-fences.ts'
import { ROOT } from './library.ts'

const PAGE = 'docs/guide/getting-started.md'

/** The page's code, with a shorter grace than its ten seconds. */
function snippet(graceMs: number): string {
  const fences = fencesOf(PAGE, readFileSync(join(ROOT, PAGE), 'utf8'))
  const [code = ''] = fences.map((fence) => fence.code).filter((text) => text.includes('SIGTERM'))
  const folder = mkdtempSync(join(tmpdir(), 'shutdown-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'operations.ts')
  writeFileSync(file, code.replace('10_000', String(graceMs)))
  return file
}

it('The shutdown of the guide lets a request end, and waits for no stream', async () => {
  const program = await startProgram('test/package/shutdown-app.ts', { SNIPPET: snippet(2000) })
  const stream = await fetch(`${program.origin}/stream`)
  const request = await fetch(`${program.origin}/request`)

  const exited = program.stop()

  expect(await request.text()).toBe('begun, ended')
  await expect(stream.text()).rejects.toThrow()
  expect(await exited).toBe(0)
})
