import type { Request } from 'express'
import type { Demo } from './demo.ts'

const AGENTS = [
  'Mozilla/5.0 (Linux; Android 15) Chrome/140.0',
  'Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0',
  'Mozilla/5.0 (iPad; CPU OS 18_0) Safari/605',
  'Mozilla/5.0 (Windows NT 10.0) Edg/140.0',
  'Mozilla/5.0 (X11; CrOS x86_64) Chrome/140.0',
]
const AT_ONCE = 20

/** Signs a user in on many devices, as requests do, but without hashing a password for each. */
export async function fillWithDevices({ store }: Demo, userId: string, count: number): Promise<void> {
  const signIn = async (index: number) => {
    // What express-session and the store read of a request that brings no cookie.
    const request = {
      headers: { 'user-agent': AGENTS[index % AGENTS.length] },
      originalUrl: '/1/',
      url: '/1/',
      sessionStore: store,
    } as unknown as Request
    store.generate(request)
    request.session.userId = userId
    await store.commit(request)
  }
  for (let from = 0; from < count; from += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, nth) => signIn(from + nth)))
}
