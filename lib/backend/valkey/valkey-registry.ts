import { checkHandle } from '../arguments.ts'
import type {
  Enrolment,
  EnrolReply,
  Extension,
  Raising,
  Registry,
  Roster,
  Standing,
  Withdrawal,
} from '../registry.ts'
import {
  orderOf,
  wholeEnrolment,
  wholeExtension,
  wholeRaising,
  wholeWithdrawal,
} from '../registry-arguments.ts'
import type { ValkeyLink } from './commands/link.ts'
import type { ServerClock } from './commands/server-clock.ts'
import type { RegistryKeys } from './keys.ts'
import { enroll } from './scripts/enroll.ts'
import { extend } from './scripts/extend.ts'
import { raise } from './scripts/raise.ts'
import { readRoster } from './scripts/roster.ts'
import { countMembers, readStanding } from './scripts/standing.ts'
import { withdraw } from './scripts/withdraw.ts'

export interface ValkeyRegistryOptions {
  readonly link: ValkeyLink
  readonly keysOf: (owner: string) => RegistryKeys
  /** Is told the server's time that comes with every reply. */
  readonly clock: ServerClock
}

/** Keeps registries in Valkey, each verb one script; docs/VALKEY.md has the keys and values. */
export class ValkeyRegistry implements Registry {
  readonly #link: ValkeyLink
  readonly #keysOf: (owner: string) => RegistryKeys
  readonly #clock: ServerClock

  constructor(options: ValkeyRegistryOptions) {
    this.#link = options.link
    this.#keysOf = options.keysOf
    this.#clock = options.clock
  }

  async enroll(owner: string, enrolment: Enrolment): Promise<EnrolReply> {
    const sentAtMs = this.#clock.stamp()
    const { value } = await enroll(this.#link, this.#keysOf(owner), wholeEnrolment(enrolment))
    this.#clock.observe(value.nowMs, sentAtMs)
    return value.enrolled
  }

  async extend(owner: string, extension: Extension): Promise<Standing> {
    const sentAtMs = this.#clock.stamp()
    const { value } = await extend(this.#link, this.#keysOf(owner), wholeExtension(extension))
    this.#clock.observe(value.nowMs, sentAtMs)
    return value.standing
  }

  async standing(owner: string, handle: string): Promise<Standing> {
    checkHandle(handle)
    const sentAtMs = this.#clock.stamp()
    const { nowMs, standing } = await readStanding(this.#link, this.#keysOf(owner), handle)
    this.#clock.observe(nowMs, sentAtMs)
    return standing
  }

  async withdraw(owner: string, withdrawal: Withdrawal): Promise<void> {
    const sentAtMs = this.#clock.stamp()
    const { value: nowMs } = await withdraw(this.#link, this.#keysOf(owner), wholeWithdrawal(withdrawal))
    this.#clock.observe(nowMs, sentAtMs)
  }

  async count(owner: string): Promise<number> {
    const sentAtMs = this.#clock.stamp()
    const { nowMs, count } = await countMembers(this.#link, this.#keysOf(owner))
    this.#clock.observe(nowMs, sentAtMs)
    return count
  }

  async roster(owner: string, cursor?: string): Promise<Roster> {
    if (cursor !== undefined) orderOf(cursor)
    const sentAtMs = this.#clock.stamp()
    const { nowMs, roster } = await readRoster(this.#link, this.#keysOf(owner), cursor)
    this.#clock.observe(nowMs, sentAtMs)
    return roster
  }

  async raise(owner: string, raising: Raising): Promise<Roster> {
    const sentAtMs = this.#clock.stamp()
    const { value } = await raise(this.#link, this.#keysOf(owner), wholeRaising(raising))
    this.#clock.observe(value.nowMs, sentAtMs)
    return value.roster
  }
}
