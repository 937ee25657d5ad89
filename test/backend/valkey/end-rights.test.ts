import { afterAll, beforeAll, expect, it } from 'vitest'
import { OutcomeUnknownError } from '../../../lib/errors.ts'
import { failureOf } from '../../store/failure-of.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { absent, ending, newBlob, newHandle, write } from '../contract/subject.ts'
import { openBackend, openClient } from './subjects.ts'

let server: ValkeyServer

beforeAll(async () => {
  server = await startValkey({ args: ['--user', 'app', 'on', '>for-this-test', '~*', '&*', '+@all'] })
})

afterAll(() => server.stop())

it.each(['set', 'publish'])(
  'a record whose end lacks the right to %s stands until it is ended, and cannot come back',
  async (right) => {
    const admin = server.client()
    const client = openClient({ url: server.url, username: 'app', password: 'for-this-test' })
    const backend = openBackend(client)
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))
    await admin.acl('SETUSER', 'app', `-${right}`)

    const failure = await failureOf(backend.end(handle, ending))
    const found = await backend.get(handle, 1024)
    await admin.acl('SETUSER', 'app', `+${right}`)
    const { answer } = await backend.end(handle, ending)
    const put = await backend.put(handle, write(absent, newBlob()))
    await backend.close()
    client.disconnect()

    expect(failure).toBeInstanceOf(OutcomeUnknownError)
    expect(found).toBeDefined()
    expect({ answer, put: put.answer }).toEqual({ answer: 'ended', put: 'ended' })
  },
)
