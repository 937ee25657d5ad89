// A Fastify app with the page's code.
import { createApp, store } from './page.ts'

declare module 'fastify' {
  interface Session {
    userId?: string
    [key: string]: unknown
  }
}

const { PORT = '' } = process.env
const app = await createApp()
const releases = new Map<string, () => void>()

app.post<{ Params: { user: string } }>('/sign-in/:user', async (req) => {
  await req.session.regenerate()
  req.session.userId = req.params.user
  return {}
})
app.get('/', async ({ session }) => {
  const { cookie: _, ...content } = session
  return content
})
app.post('/sign-out', async ({ session }) => {
  await session.destroy()
  return 'bye'
})
// Changes the session that it loaded, and ends when it is released.
app.post<{ Params: { key: string } }>('/held/:key', async ({ session, params }) => {
  console.log(`holds ${params.key}`)
  await new Promise<void>((resolve) => releases.set(params.key, resolve))
  session[params.key] = true
  return 'a secret of the handler'
})
app.post<{ Params: { key: string } }>('/release/:key', async ({ params }) => {
  releases.get(params.key)?.()
  return ''
})
app.post<{ Params: { key: string } }>('/set/:key', async ({ session, params }) => {
  session[params.key] = true
  return ''
})
app.get('/devices', async ({ session }) => store.registry.list(session.userId ?? ''))
app.post('/sign-out-everywhere', async ({ session }) => store.registry.endAll(session.userId ?? ''))

await app.listen({ host: '127.0.0.1', port: Number(PORT) })
console.log(`Listening on http://127.0.0.1:${PORT}`)
process.once('SIGTERM', () => void app.close())
