// A Nest app with the page's code. FILTER=none leaves the page's exception filter out.
import { setTimeout as delay } from 'node:timers/promises'
import { Controller, Get, Inject, Module, Param, Post, Session } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { NestExpressApplication } from '@nestjs/platform-express'
import { ValkeyStore } from 'express-session-valkey'
import { SessionModule, useSessions } from './page.ts'

const { PORT = '', FILTER } = process.env

@Controller()
class Pages {
  constructor(@Inject(ValkeyStore) private readonly store: ValkeyStore) {}

  @Post('sign-in/:user')
  signIn(@Param('user') user: string, @Session() session: Record<string, unknown>) {
    session['userId'] = user
    return { user }
  }

  @Get()
  show(@Session() { userId, late }: Record<string, unknown>) {
    return { userId, late }
  }

  @Get('devices/:user')
  devices(@Param('user') user: string) {
    return this.store.registry.list(user)
  }

  @Post('sign-out/:user')
  async signOut(@Param('user') user: string) {
    return (await this.store.registry.endAll(user)).ended.length
  }

  @Get('change')
  change(@Session() session: Record<string, unknown>) {
    session['seen'] = Date.now()
    return 'a secret of the handler'
  }

  @Post('late')
  async late(@Session() session: Record<string, unknown>) {
    console.log('late begins')
    await new Promise((resolve) => process.once('SIGTERM', resolve))
    await delay(100)
    session['late'] = 'stored'
    return 'late ends'
  }
}

@Module({ imports: [SessionModule], controllers: [Pages] })
class App {}

const app = await NestFactory.create<NestExpressApplication>(App, { logger: false })
const unfiltered = new Proxy(app, {
  get: (target, name) => (name === 'useGlobalFilters' ? () => app : Reflect.get(target, name)),
})
useSessions(FILTER === 'none' ? unfiltered : app)
const store = app.get(ValkeyStore)
const { close } = store
store.close = async () => {
  await close.call(store)
  console.log('store closed')
}
await app.listen(Number(PORT), '127.0.0.1')
console.log(`Listening on http://127.0.0.1:${PORT}`)
