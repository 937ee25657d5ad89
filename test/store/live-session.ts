import session, { type Session, type SessionData, type Store } from 'express-session'

/** A live session whose content has names that express-session has no type for. */
export type LiveSession = Session & SessionData & Record<string, unknown>

// Both are exported, which the types do not say.
const { Session: LiveSessionClass, Cookie } = session as unknown as {
  readonly Session: new (req: object, data?: object) => LiveSession
  readonly Cookie: new (options?: object) => session.Cookie
}

interface Beginning {
  readonly cookie?: object
  readonly content?: Readonly<Record<string, unknown>>
}

/** A session as express-session generates it for a visitor who has none. */
export function generateSession(
  store: Store,
  sid: string,
  { cookie = {}, content = {} }: Beginning = {},
): LiveSession {
  const req = { sessionID: sid, sessionStore: store }
  const live = Object.assign(new LiveSessionClass(req), { cookie: new Cookie(cookie), ...content })
  Object.assign(req, { session: live })
  return live
}

/** A session as express-session loads it, `undefined` if there is none. */
export function loadSession(store: Store, sid: string): Promise<LiveSession | undefined> {
  return new Promise((resolve, reject) => {
    store.load(sid, (error: unknown, loaded?: SessionData) =>
      error ? reject(error) : resolve(loaded as LiveSession | undefined),
    )
  })
}

/** As {@link loadSession}, where there must be one. */
export async function loadedSession(store: Store, sid: string): Promise<LiveSession> {
  const live = await loadSession(store, sid)
  if (live === undefined) throw new Error('There is no session to load')
  return live
}

/** The content of a stored session, without its cookie. */
export async function storedContent(
  store: { get(sid: string): Promise<SessionData | null> },
  sid: string,
): Promise<object | undefined> {
  const data = await store.get(sid)
  if (data === null) return undefined
  const { cookie: _, ...content } = data
  return content
}
