// A small guarded app over the built package, asked by itself: run by each version of Node.
import { createServer } from 'node:http'
import express from 'express'
import session from 'express-session'
import { InProcessStore, sessionGuard } from 'express-session-valkey'

const store = new InProcessStore()
const app = express()
app.set('env', 'test')
app.use(session({ store, secret: 'of the test', resave: false, saveUninitialized: false }))
app.use(sessionGuard({ store, onError() {} }))
app.get('/good', (req, res) => {
  req.session.user = 'alice'
  for (let chunk = 0; chunk < 50; chunk += 1) res.write('x'.repeat(20_000))
  res.end()
})
app.get('/bad', (req, res) => {
  req.session.user = 1n
  res.send('a lie')
})
const server = createServer(app).listen(0, '127.0.0.1', async () => {
  const ask = async (path) => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`)
    return [response.status, (await response.text()).length]
  }
  console.log(JSON.stringify([await ask('/good'), await ask('/bad')]))
  process.exit()
})
