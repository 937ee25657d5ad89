import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { expect, onTestFinished, test } from 'vitest'
import type { Decision } from '../../lib/diagnostics.ts'
import { deniesTaint, taints } from '../../lib/http/labels/taint-gates.ts'
import { createTaintApp, frameworks, serve, Visitor } from './taint-site.ts'

const [{ express }] = frameworks

function listen() {
  const told: unknown[] = []
  const note = (message: unknown) => void told.push({ ...(message as Decision) })
  const channels = ['labels-load', 'labels-add'].map(
    (name) => tracingChannel(`express-session-valkey:${name}`).start,
  )
  subscribe('express-session-valkey:decision', note)
  for (const channel of channels) channel.subscribe(note)
  onTestFinished(() => {
    unsubscribe('express-session-valkey:decision', note)
    for (const channel of channels) channel.unsubscribe(note)
  })
  return told
}

test('a denied request and an answer in a handler’s place are told, as are loads and additions of labels', async () => {
  const site = await serve(
    createTaintApp({
      express,
      routes: (app) => {
        app.get('/read', taints('pii'), (_req, res) => void res.send('CANARY'))
        app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
        app.post('/broken', (req, res) => {
          Object.assign(req.session, { big: 1n })
          res.send('never sent')
        })
      },
    }),
  )
  onTestFinished(() => site.close())
  const visitor = new Visitor(site)
  await visitor.post('/begin')
  const told = listen()

  const statuses = [await visitor.get('/read'), await visitor.post('/export'), await visitor.post('/broken')]

  expect(statuses.map(({ status }) => status)).toEqual([200, 403, 500])
  expect(told).toContainEqual({ operation: 'labels-load' })
  expect(told).toContainEqual({ operation: 'labels-add' })
  expect(told).toContainEqual({ decision: 'taint-denied' })
  expect(told).toContainEqual({
    decision: 'response-refused',
    status: 500,
    code: 'ERR_SESSION_NOT_SERIALIZABLE',
  })
})
