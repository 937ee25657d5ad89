import type { AuthSite, Reply, TokenReply } from '../auth/auth-site.ts'
import type { Random } from '../support/random.ts'
import type { Worker } from './workers.ts'

/** What the clients of a run have seen. */
export interface RefreshRecord {
  refreshes: number
  /** What must never happen, in words. */
  readonly violations: string[]
  /** Tokens of sessions whose end was acknowledged. */
  readonly dead: string[]
  signIns: number
}

export interface RefreshClientParts {
  readonly sites: readonly AuthSite[]
  readonly random: Random
  readonly record: RefreshRecord
}

interface Family {
  readonly tokens: string[]
  current: TokenReply
  isEnding: boolean
}

const STEPS = { refresh: 80, 'sign-out': 4, 'look-at-dead': 16 }

/** A well-behaved client of the token routes, in one or several tabs: it repeats what is 503, and at times loses a reply. */
export class RefreshClient implements Worker {
  readonly #parts: RefreshClientParts
  #family: Family | undefined

  constructor(parts: RefreshClientParts) {
    this.#parts = parts
  }

  step(): Promise<boolean> {
    const { random } = this.#parts
    if (this.#family === undefined) return this.#signIn()
    const step = this.#family.isEnding ? 'sign-out' : random.weighted(STEPS)
    if (step === 'look-at-dead') return this.#lookAtDead()
    return step === 'sign-out' ? this.#signOut(this.#family) : this.#refresh(this.#family)
  }

  /** Refreshes until that works: nothing is wrong any more, and nobody has signed out. */
  async settle(): Promise<void> {
    const family = this.#family
    if (family === undefined || family.isEnding) return
    for (let tries = 0; tries < 100; tries += 1) {
      if (await this.#refresh(family)) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    this.#violation('a session never came back')
  }

  // A user each: no cap and no other client ends it.
  async #signIn(): Promise<boolean> {
    const { record } = this.#parts
    record.signIns += 1
    const form = { grant_type: 'password', username: `user ${record.signIns}`, password: 'correct horse' }
    const { status, body } = await this.#site().post('/auth/token', form)
    if (status === 200) this.#family = { tokens: [body.refresh_token], current: body, isEnding: false }
    else if (status !== 503) this.#violation(`a sign-in was ${status}`)
    return status === 200
  }

  async #refresh(family: Family): Promise<boolean> {
    const { random } = this.#parts
    const tabs = random.chance(0.2) ? 3 : 1
    const replies = await Promise.all(Array.from({ length: tabs }, () => this.#present(family)))
    for (const { status } of replies)
      if (status !== 200 && status !== 503) this.#violation(`a client of its own was refused with ${status}`)
    return replies.some(({ status }) => status === 200)
  }

  async #present(family: Family): Promise<Reply<TokenReply>> {
    const { random, record } = this.#parts
    const reply = await this.#site().refresh(family.current.refresh_token)
    if (reply.status !== 200) return reply
    record.refreshes += 1
    family.tokens.push(reply.body.refresh_token)
    const isNewer = generationOf(reply.body) > generationOf(family.current)
    // A reply that was lost: the client presents the same token again.
    if (isNewer && random.chance(0.9)) family.current = reply.body
    return reply
  }

  async #signOut(family: Family): Promise<boolean> {
    const { record, random } = this.#parts
    family.isEnding = true
    const racing = random.chance(0.5) ? this.#present(family) : undefined
    const { status } = await this.#site().post('/auth/logout', {}, family.current.access_token)
    await racing
    if (status !== 204 && status !== 503) this.#violation(`a sign-out was ${status}`)
    if (status !== 204) return false
    record.dead.push(...family.tokens)
    this.#family = undefined
    return true
  }

  async #lookAtDead(): Promise<boolean> {
    const { random, record } = this.#parts
    const token = random.pick(random.chance(0.7) ? record.dead.slice(-40) : record.dead)
    if (token === undefined) return true
    const { status } = await this.#site().refresh(token)
    if (status === 200) this.#violation('a dead token was accepted')
    return status !== 503
  }

  #site(): AuthSite {
    const { sites, random } = this.#parts
    const site = random.pick(sites)
    if (site === undefined) throw new Error('There is no site')
    return site
  }

  #violation(what: string): void {
    this.#parts.record.violations.push(what)
  }
}

function generationOf({ refresh_token: token }: TokenReply): number {
  return Number(token.split('.')[2])
}
