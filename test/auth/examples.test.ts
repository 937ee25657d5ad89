import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startProgram } from '../support/program.ts'
import { type PlainValkey, plainValkey } from '../support/valkey.ts'

const run = promisify(execFile)
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const SIGNING_KEY = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

let valkey: PlainValkey

beforeAll(async () => {
  valkey = await plainValkey()
})

afterAll(async () => {
  await valkey?.stop()
})

interface Output {
  readonly line: string
  readonly status: number
  readonly body: Record<string, unknown>
}

/** Starts an example and runs the curl lines in its comments, one after the other, as a reader does. */
async function tryOut(name: string): Promise<Output[]> {
  const program = await startProgram(`examples/${name}`, {
    VALKEY_URL: valkey.url,
    SESSION_KEY: randomBytes(32).toString('hex'),
    TOKEN_KEY: randomBytes(32).toString('hex'),
    SIGNING_KEY,
  })
  onTestFinished(async () => void (await program.stop()))
  const lines = readFileSync(`examples/${name}`, 'utf8').match(/(?<=^\/\/ )curl .*$/gm) ?? []
  const env: Record<string, string | undefined> = { PATH: process.env['PATH'], URL: program.origin }
  const outputs: Output[] = []
  for (const line of lines) {
    const { stdout } = await run('bash', ['-c', `${line} -w '\\n%{http_code}'`], { env })
    const [text = '', status] = stdout.split(/\n(?=\d+$)/)
    const body = JSON.parse(text === '' ? '{}' : text) as Record<string, unknown>
    env['ACCESS'] = String(body['access_token'] ?? env['ACCESS'])
    env['REFRESH'] = String(body['refresh_token'] ?? env['REFRESH'])
    outputs.push({ line, status: Number(status), body })
  }
  return outputs
}

describe('The curl lines of', () => {
  test('tokens.ts sign in, refresh, look at devices and sign out', async () => {
    const outputs = await tryOut('tokens.ts')

    expect(outputs.map(({ status }) => status)).toEqual([200, 200, 200, 202, 200, 204])
    expect(outputs[4]?.body).toEqual([
      expect.objectContaining({
        kind: 'token',
        isCurrent: true,
        device: { userAgent: expect.stringContaining('curl') },
      }),
    ])
  })

  test('stateless.ts sign in, refresh and sign out', async () => {
    const outputs = await tryOut('stateless.ts')

    expect(outputs.map(({ status }) => status)).toEqual([200, 200, 200, 204])
    expect(outputs[2]?.body['refresh_token']).not.toBe(outputs[0]?.body['refresh_token'])
  })
})
