import type { Express } from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { deniesTaint, taints } from '../../lib/http/labels/taint-gates.ts'
import { taintOf } from '../../lib/http/labels/taint-labels.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { openMemory } from '../labels/subjects.ts'
import { internalsOf } from '../store/parts-store.ts'
import { createTaintApp, destroy, regenerate, type SiteOptions, serve, Visitor } from './taint-site.ts'

const routes = (app: Express) => {
  app.get('/read', taints('pii'), (_req, res) => void res.send('CANARY'))
  app.get('/browse', taints('browsed'), (_req, res) => void res.send('x'))
  app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
  app.post('/sign-in/:user', async (req, res) => {
    await regenerate(req)
    req.session.user = req.params.user
    res.end()
  })
  app.post('/forget-user', (req, res) => {
    delete req.session.user
    res.end()
  })
  app.post('/sign-out', async (req, res) => {
    await destroy(req)
    res.end()
  })
}

async function open(options: SiteOptions = {}) {
  const labels = openMemory()
  const sessions = new InProcessStore()
  const site = await serve(
    createTaintApp({
      labels: labels.store,
      sessions,
      taint: { subject: (req) => req.session?.user ?? req.get('x-api-user') },
      routes,
      ...options,
    }),
  )
  onTestFinished(() => site.close())
  const labelsOf = async (holder: string | { subject: string }) =>
    [...(await labels.store.load(holder)).labels].sort()
  return { ...labels, sessions, site, labelsOf }
}

describe('with a subject, labels', () => {
  it('belong to the user, in all of the user’s sessions', async () => {
    const { site, labelsOf } = await open()
    const [laptop, phone, stranger] = [new Visitor(site), new Visitor(site), new Visitor(site)]
    await laptop.post('/sign-in/alice')
    await phone.post('/sign-in/alice')
    await stranger.post('/sign-in/bob')

    await laptop.get('/read')

    expect((await phone.post('/export')).status).toBe(403)
    expect((await stranger.post('/export')).status).toBe(200)
    expect(await labelsOf({ subject: 'alice' })).toEqual(['pii'])
    expect(await labelsOf(laptop.sid)).toEqual([])
  })

  it.each(['/sign-out', '/forget-user'])('cannot be laundered by %s and signing in again', async (way) => {
    const { site } = await open()
    const visitor = new Visitor(site)
    await visitor.post('/sign-in/alice')
    await visitor.get('/read')

    await visitor.post(way)
    await visitor.post('/sign-in/alice')

    expect((await visitor.post('/export')).status).toBe(403)
  })

  it('of an anonymous session are carried over at sign-in, before the answer leaves', async () => {
    const { site, labelsOf, codes } = await open()
    const visitor = new Visitor(site)
    await visitor.get('/browse')
    const anonymous = visitor.sid

    const { status } = await visitor.post('/sign-in/alice')

    expect(status).toBe(200)
    expect(await labelsOf({ subject: 'alice' })).toEqual(['browsed'])
    expect(await labelsOf(anonymous)).toEqual(['browsed'])
    expect((await visitor.get('/labels')).body).toBe('["browsed"]')
    expect(codes()).toEqual([])
  })

  it('stay with a session that forgets its user', async () => {
    const { site, labelsOf, codes } = await open()
    const visitor = new Visitor(site)
    await visitor.post('/sign-in/alice')
    await visitor.get('/read')

    await visitor.post('/forget-user')

    expect(await labelsOf(visitor.sid)).toEqual(['pii'])
    expect((await visitor.post('/export')).status).toBe(403)
    expect(codes()).toEqual([])
  })

  it('that were declassified stay so, in every session and after every change of holder', async () => {
    const { site, store, codes } = await open()
    const visitor = new Visitor(site)
    await visitor.post('/sign-in/alice')
    await visitor.get('/read')
    await visitor.get('/browse')
    await store.declassify({ subject: 'alice', labels: ['pii'], actor: { type: 'dpo' }, reason: 'reviewed' })

    expect((await visitor.get('/labels')).body).toBe('["browsed"]')
    await visitor.post('/forget-user')
    expect((await visitor.get('/labels')).body).toBe('["browsed"]')
    await visitor.post('/sign-in/alice')
    expect((await visitor.get('/labels')).body).toBe('["browsed"]')
    expect((await visitor.post('/export')).status).toBe(200)
    expect(codes()).toEqual([])
  })

  it('that are gone while a session remembers them deny', async () => {
    const { site, sessions } = await open()
    const visitor = new Visitor(site)
    await visitor.post('/sign-in/alice')
    await visitor.get('/read')
    // Another, empty store of labels: the sets are gone.
    const after = await open({
      sessions,
      routes: (app) => app.post('/other', deniesTaint('other'), (_req, res) => void res.send('x')),
    })
    const returning = new Visitor(after.site, visitor.cookie)

    expect((await returning.post('/other')).status).toBe(403)
  })

  it('are known for a user without a session, and make no session', async () => {
    const { site, labelsOf } = await open()
    const client = new Visitor(site)
    const asCarol = { headers: { 'x-api-user': 'carol' } }

    expect((await client.ask('POST', '/export', asCarol)).status).toBe(200)
    expect(await client.ask('GET', '/read', asCarol)).toMatchObject({ status: 200, body: 'CANARY' })
    expect((await client.ask('POST', '/export', asCarol)).status).toBe(403)
    expect(client.cookie).toBeUndefined()
    expect(await labelsOf({ subject: 'carol' })).toEqual(['pii'])
  })

  it('are refused if the app cannot say whose they are', async () => {
    const broken = await open({
      taint: {
        subject: () => {
          throw new Error('broken')
        },
      },
    })
    const wrong = await open({ taint: { subject: () => 7 as never } })

    expect((await new Visitor(broken.site).get('/labels')).status).toBe(500)
    expect((await new Visitor(wrong.site).get('/labels')).status).toBe(500)
  })
})

describe('parallel requests of one session', () => {
  it('lose neither each other’s labels nor what the session remembers of them', async () => {
    const sessions = new InProcessStore()
    let sealed: readonly string[] = []
    const { site, labelsOf } = await open({
      sessions,
      routes: (app) => {
        app.post('/add/:label', async (req, res) => {
          req.session.note = req.params.label
          await taintOf(req).add(req.params.label)
          res.end()
        })
        app.get('/sealed', (req, res) => {
          sealed = internalsOf(sessions).sealedLabels(req.session)
          res.end()
        })
      },
    })
    const visitor = new Visitor(site)
    await visitor.post('/begin')
    const labels = Array.from({ length: 20 }, (_, index) => `label-${index}`).sort()

    const replies = await Promise.all(
      labels.map((label) => new Visitor(site, visitor.cookie).post(`/add/${label}`)),
    )
    await visitor.get('/sealed')

    expect(replies.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(await labelsOf(visitor.sid)).toEqual(labels)
    expect([...sealed].sort()).toEqual(labels)
  })
})
