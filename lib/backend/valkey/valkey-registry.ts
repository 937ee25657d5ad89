import {
  checkHandle,
  orderOf,
  wholeEnrolment,
  wholeExtension,
  wholeRaising,
  wholeWithdrawal,
} from '../arguments.ts'
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
import type { CommandRunner } from './commands/command-runner.ts'
import type { RegistryKeys } from './keys.ts'
import { enroll } from './scripts/enroll.ts'
import { extend } from './scripts/extend.ts'
import { raise } from './scripts/raise.ts'
import { readRoster } from './scripts/roster.ts'
import { countMembers, readStanding } from './scripts/standing.ts'
import { withdraw } from './scripts/withdraw.ts'

/** Keeps registries in Valkey, each verb one script; docs/VALKEY.md has the keys and values. */
export class ValkeyRegistry implements Registry {
  readonly #commands: CommandRunner
  readonly #keysOf: (owner: string) => RegistryKeys

  constructor(commands: CommandRunner, keysOf: (owner: string) => RegistryKeys) {
    this.#commands = commands
    this.#keysOf = keysOf
  }

  async enroll(owner: string, enrolment: Enrolment): Promise<EnrolReply> {
    return enroll(this.#commands, this.#keysOf(owner), wholeEnrolment(enrolment))
  }

  async extend(owner: string, extension: Extension): Promise<Standing> {
    return extend(this.#commands, this.#keysOf(owner), wholeExtension(extension))
  }

  async standing(owner: string, handle: string): Promise<Standing> {
    checkHandle(handle)
    return readStanding(this.#commands, this.#keysOf(owner), handle)
  }

  async withdraw(owner: string, withdrawal: Withdrawal): Promise<void> {
    await withdraw(this.#commands, this.#keysOf(owner), wholeWithdrawal(withdrawal))
  }

  async count(owner: string): Promise<number> {
    return countMembers(this.#commands, this.#keysOf(owner))
  }

  async roster(owner: string, cursor?: string): Promise<Roster> {
    if (cursor !== undefined) orderOf(cursor)
    return readRoster(this.#commands, this.#keysOf(owner), cursor)
  }

  async raise(owner: string, raising: Raising): Promise<Roster> {
    return raise(this.#commands, this.#keysOf(owner), wholeRaising(raising))
  }
}
