const assert = require('node:assert/strict')
const session = require('express-session')
const everything = require('express-session-valkey')

const { InProcessStore, SessionStoreError, ValkeyStore } = everything

async function roundTrip() {
  const store = new InProcessStore({ secrets: ['a secret of at least 32 bytes, for tests'] })
  const cookie = new session.Cookie({ maxAge: 60_000 })
  await store.set('id-1', { cookie, greeting: 'hello' })
  const loaded = await store.get('id-1')
  await store.destroy('id-1')
  const ended = await store.get('id-1')
  await store.close()
  return { greeting: loaded?.greeting, ended }
}

roundTrip().then((answer) => {
  assert.deepEqual(answer, { greeting: 'hello', ended: null })
  assert.equal(typeof ValkeyStore, 'function')
  assert.throws(() => new InProcessStore({ secrets: ['short'] }), TypeError)
  assert.ok(new InProcessStore() instanceof session.Store)
  assert.ok(SessionStoreError.prototype instanceof Error)
  process.stdout.write(Object.keys(everything).sort().join(' '))
})
