import type { IncomingMessage } from 'node:http'
import type { UserId } from '../session/names.ts'

/** A user as the token routes return them to the client. Serialized as JSON, at most 8 KiB. */
export interface AuthUser {
  readonly id: UserId
  readonly [property: string]: unknown
}

/** Holds what a client presents to sign in. */
export interface Credentials {
  readonly grant: 'password'
  /** As the client sent it: a user name, an email address or a phone number. */
  readonly username: string
  readonly password: string
  readonly req: IncomingMessage
}

/** Names the user who has signed in. */
export interface Authenticated {
  readonly user: AuthUser
  /** Keeps what the hooks need later, such as an upstream's refresh token. Kept sealed, never sent to a client; at most 4 KiB. */
  readonly upstream?: string | undefined
}

/** The password was right, and more is needed: the client is told the word, in `error_code`. */
export interface MoreNeeded {
  readonly needs: string
  /** Printable ASCII without `"` and `\`. */
  readonly description?: string | undefined
}

/** Describes a token session to the hooks. */
export interface UpstreamSession {
  readonly userId: UserId
  readonly sid: string
  readonly upstream: string | undefined
  readonly req: IncomingMessage
}

/**
 * Returns who signs in with these credentials; `undefined` if nobody does, whatever the reason. An error that it rejects
 * with is an outage, 503, unless it is an `AuthError`, whose status it then is.
 */
export interface Authenticate {
  (credentials: Credentials): Promise<Authenticated | MoreNeeded | undefined>
  /**
   * Is called on each refresh before anything is stored. What it returns replaces user and upstream secret; `undefined`
   * ends the session.
   */
  refresh?(session: UpstreamSession): Promise<Authenticated | undefined>
  /** Is called after the session was ended here. What it rejects with is reported as an event. */
  logout?(session: UpstreamSession & { readonly scope: 'local' | 'global' | 'others' }): Promise<void>
}
