import { describe, expect, it } from 'vitest'
import { openSite, type Reply, type RequestKind, requestKinds, Visit } from './outage-rig.ts'
import { type OutageState, outageStates } from './outage-states.ts'
import { type Cell, publishedTable, publishTable, type Row, renderTable, shapeOf } from './outage-table.ts'

// The default limits of a store: 250 + 2 × 500 × 2 ms, and what a busy machine adds to it.
const LONGEST_MS = 2250 + 250
// Once the breaker is open nothing is asked of the server, so it takes no time limit; this is for a busy machine.
const AT_ONCE_MS = 700
const REQUESTS = 9
const LAST = 5
const COLUMNS = requestKinds.map(({ name }) => name)

const rows: Row[] = []

describe.each(outageStates)('while a server is $name', (state) => {
  it('every request is answered in time and for what it is, and no browser loses its session', async () => {
    const site = await openSite()
    const visits = await Promise.all(requestKinds.map((kind) => Visit.begin(kind, site.proxy.url)))
    try {
      await state.begin(site)
      const replies = await Promise.all(visits.map(repliesTo))
      await state.end(site)

      const cells = []
      for (const [index, visit] of visits.entries())
        cells.push(await cellOf(visit, replies[index] ?? [], state))
      rows.push({ name: state.name, reasons: state.reasons, cells })
    } finally {
      await Promise.all(visits.map((visit) => visit.end()))
      await site.close()
    }
  })
})

// UPDATE_OUTAGE_TABLE=1 writes what was measured into the page.
it('the page for operators shows these statuses', () => {
  const table = renderTable(COLUMNS, rows)
  if (process.env['UPDATE_OUTAGE_TABLE'] === '1') publishTable(table)

  expect(shapeOf(table).trim()).toBe(shapeOf(publishedTable()))
})

async function repliesTo(visit: Visit): Promise<Reply[]> {
  const replies: Reply[] = []
  while (replies.length < REQUESTS) replies.push(await visit.ask())
  return replies
}

async function cellOf(visit: Visit, replies: readonly Reply[], state: OutageState): Promise<Cell> {
  const { kind } = visit
  const { [kind.name]: status = 200 } = state.statuses
  const atTimes = state.atTimes?.[kind.name]
  const isSaved = status === 200 && !state.unsaved?.includes(kind.name)
  const thenMs = median(replies.slice(-LAST).map(({ tookMs }) => tookMs))
  const where = `${kind.name} while ${state.name}`

  expect(
    statusesOf(replies).filter((answered) => answered !== atTimes),
    where,
  ).toEqual(replies.filter((reply) => reply.status !== atTimes).map(() => status))
  expect(statusesOf(replies), where).toContain(status)
  expect(Math.max(...replies.map(({ tookMs }) => tookMs)), where).toBeLessThan(LONGEST_MS)
  expect(thenMs, where).toBeLessThan(AT_ONCE_MS)
  expect(isSaved ? [] : state.reasons, where).toEqual(expect.arrayContaining(reasonsOf(replies)))
  // A new session id is for who signs in, and for nobody else.
  const setsCookie = kind.name === 'sign in' && status === 200
  const setCookies = replies.map(({ setCookie }) => setCookie !== undefined)
  expect(setCookies, where).toEqual(replies.map(() => setsCookie))
  if (kind.hasCookie) expect(JSON.parse(await visit.content()), where).toEqual(contentAfter(kind, isSaved))

  return {
    status,
    note: noteOf(kind, { status, isSaved, atTimes }),
    firstMs: replies[0]?.tookMs ?? Number.NaN,
    thenMs,
  }
}

function statusesOf(replies: readonly Reply[]): number[] {
  return replies.map(({ status }) => status)
}

function reasonsOf(replies: readonly Reply[]): string[] {
  return [...new Set(replies.map(({ reason }) => reason))].filter((reason) => reason !== undefined)
}

/** What the browser's session must hold when all is over. */
function contentAfter({ name }: RequestKind, isSaved: boolean): object {
  if (!isSaved || name === 'read') return { user: 'alice' }
  return name === 'sign out' ? {} : { user: 'alice', note: 'kept' }
}

function noteOf(
  { name, hasCookie }: RequestKind,
  { status, isSaved, atTimes }: { status: number; isSaved: boolean; atTimes: number | undefined },
): string | undefined {
  if (status !== 200) return hasCookie ? 'cookie kept' : 'none set'
  if (!isSaved) return atTimes === undefined ? 'not saved' : `not saved, at times ${atTimes}`
  return hasCookie && name !== 'sign out' ? 'cookie kept' : undefined
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
