import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { installed } from '../support/npm-install.ts'
import { browser } from './browser.ts'
import { appSecrets, ownValkey, prepare, start } from './neighbour.ts'

const NAME = 'react-router-7'
const PACKAGES = [
  'react-router@7.18.4',
  '@react-router/dev@7.18.4',
  '@react-router/express@7.18.4',
  '@react-router/node@7.18.4',
  'react@19',
  'react-dom@19',
  '@types/react@19',
  'isbot@5',
  'vite@7',
  'typescript@5',
]
const FILES = {
  'react-router.config.js': 'export default { ssr: true }',
  'vite.config.js': `
import { reactRouter } from '@react-router/dev/vite'
export default { plugins: [reactRouter()] }`,
  'app/routes.js': `
import { index, route } from '@react-router/dev/routes'
export default [index('home.jsx'), route('sign-in', 'sign-in.jsx')]`,
  'app/root.jsx': `
import { Outlet, Scripts } from 'react-router'
export default function Root() { return <html><head /><body><Outlet /><Scripts /></body></html> }
export function ErrorBoundary() { return <html><body>failed</body></html> }`,
  'app/home.jsx': `
import { Suspense } from 'react'
import { Await } from 'react-router'
export async function loader({ context }) {
  const late = new Promise((resolve) => setTimeout(resolve, 50, 'word '.repeat(2000)))
  return { user: context.session.userId ?? 'nobody', late }
}
export default function Home({ loaderData: { user, late } }) {
  return <main><p>{'user ' + user}</p><Suspense fallback="wait"><Await resolve={late}>{(text) => <p>{text}</p>}</Await></Suspense></main>
}`,
  'app/sign-in.jsx': `
import { redirect } from 'react-router'
export async function action({ request, context }) {
  context.session.userId = (await request.formData()).get('user')
  return redirect('/')
}
export default function SignIn() { return null }`,
} as const

let folder: string
beforeAll(async () => {
  await build()
  folder = await prepare({
    name: NAME,
    packages: PACKAGES,
    app: 'react-router.ts',
    heading: 'React Router',
  })
}, 600_000)
async function build(): Promise<void> {
  const app = await installed(join('neighbours', NAME), PACKAGES)
  const built = join(app, 'built.json')
  if (existsSync(built) && readFileSync(built, 'utf8') === JSON.stringify(FILES)) return
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(join(app, name, '..'), { recursive: true })
    writeFileSync(join(app, name), text)
  }
  await promisify(execFile)(process.execPath, ['node_modules/@react-router/dev/bin.js', 'build'], {
    cwd: app,
  })
  writeFileSync(built, JSON.stringify(FILES))
}

const signingIn = (user: string) => ({ method: 'POST', body: new URLSearchParams({ user }) })

test('an action signs in, and pages that stream have the session', async () => {
  const { origin } = await start(folder, { ...appSecrets(), VALKEY_URL: (await ownValkey()).url })
  const [ann, ben] = [browser(origin), browser(origin)]

  const answer = await ann('/sign-in', signingIn('ann'))

  expect([answer.status, answer.headers.get('location')]).toEqual([302, '/'])
  const page = await ann('/')
  expect(page.status).toBe(200)
  expect(page.body).toContain('user ann')
  expect(page.body).toMatch(/(word ){2000}/)
  expect((await ben('/')).body).toContain('user nobody')
})

test('an outage is 503, a sign-in that is not stored redirects nobody, and assets go on', async () => {
  const own = await ownValkey()
  const { origin } = await start(folder, { ...appSecrets(), VALKEY_URL: own.url })
  const ann = browser(origin)
  await ann('/sign-in', signingIn('ann'))

  await own.stop()

  expect(await ann('/')).toMatchObject({ status: 503, body: expect.not.stringContaining('user ann') })
  const refused = await browser(origin)('/sign-in', signingIn('ben'))
  expect([refused.status, refused.headers.get('location')]).toEqual([503, null])
  const [asset = ''] = readdirSync(join(folder, 'build/client/assets'))
  expect((await ann(`/assets/${asset}`)).status).toBe(200)
})
