import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import express from 'express'
import session from 'express-session'
import request from 'supertest'
import { describe, expect, it } from 'vitest'
import { InProcessStore } from '../../lib/index.ts'
import { ROOT } from './library.ts'

const page = readFileSync(join(ROOT, 'docs/SECURITY.md'), 'utf8')

// The requirements of the chapter, section by section.
const REQUIREMENTS = Object.entries({ 1: 3, 2: 4, 3: 2, 4: 5, 5: 3, 6: 2 }).flatMap(([section, count]) =>
  Array.from({ length: count }, (_, at) => `7.${section}.${at + 1}`),
)

describe('The list of ASVS 5.0, chapter V7, in docs/SECURITY.md', () => {
  const rows = [...page.matchAll(/^\| (7\.\d\.\d) \|(.*)\|$/gm)].map(([, id = '', rest = '']) => {
    const [about = '', whose = '', how = '', shown = ''] = rest.split('|').map((cell) => cell.trim())
    return { id, about, whose, how, tests: [...shown.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file) }
  })

  it('has every requirement once', () => {
    expect(rows.map(({ id }) => id)).toEqual(REQUIREMENTS)
    expect(rows.every(({ whose }) => ['met', 'helped', 'yours'].includes(whose))).toBe(true)
  })

  it('names a test of this repository for each that is met or helped', () => {
    const ours = rows.filter(({ whose }) => whose !== 'yours')
    const missing = ours.flatMap(({ tests }) => tests.filter((file) => !existsSync(join(ROOT, file))))

    expect(ours.filter(({ tests }) => tests.length === 0)).toEqual([])
    expect(missing).toEqual([])
  })
})

describe('express-session on this store', () => {
  it('draws ids of 192 random bits', async () => {
    const app = express()
    const store = new InProcessStore()
    app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
    app.get('/', (req, res) => void res.json({ id: req.session.id }))
    const ids: Buffer[] = []
    for (let round = 0; round < 200; round += 1)
      ids.push(Buffer.from((await request(app).get('/')).body.id, 'base64url'))
    const shares = Array.from(
      { length: 192 },
      (_, bit) => ids.filter((id) => (((id[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1).length / ids.length,
    )

    expect(new Set(ids.map((id) => id.toString('hex'))).size).toBe(200)
    expect(ids.every(({ length }) => length === 24)).toBe(true)
    // Eight standard deviations: chance alone does not get there.
    expect(shares.filter((share) => Math.abs(share - 0.5) > 0.29)).toEqual([])
  })
})
