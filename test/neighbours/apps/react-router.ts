// The build of a React Router app, served with the page's code.
import { join } from 'node:path'
import type { ServerBuild } from 'react-router'
import { createApp } from './page.ts'

const { PORT = '' } = process.env
const built = join(import.meta.dirname, 'build')
const build = (await import(join(built, 'server/index.js'))) as ServerBuild
createApp(build, join(built, 'client')).listen(Number(PORT), '127.0.0.1', () =>
  console.log(`Listening on http://127.0.0.1:${PORT}`),
)
