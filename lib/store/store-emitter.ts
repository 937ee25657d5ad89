import { Store } from 'express-session'
import type { Finding } from '../backend/finding.ts'
import { type Decision, decide } from '../diagnostics.ts'
import type { Announce, StoreEvents } from '../session/events.ts'

type AnyListener = Parameters<Store['on']>[1]
type Listener<Name extends keyof StoreEvents> = (...facts: StoreEvents[Name]) => void

/** express-session's `Store`, which is an EventEmitter, with typed listeners. */
export abstract class StoreEmitter extends Store {
  // Outside our promises: what a listener throws must not fail the session's request in our name.
  protected readonly announce: Announce = (name, facts) => {
    process.nextTick(() => this.emit(name, facts))
    const { handle, ...untold } = facts
    // Each event of a session is a decision of the same name, which the compiler cannot see.
    decide({ decision: name, ...untold } as Decision)
  }

  override on<Name extends keyof StoreEvents>(name: Name, listener: Listener<Name>): this
  override on(name: string | symbol, listener: AnyListener): this
  override on(name: string | symbol, listener: AnyListener): this {
    return isNeverEmitted(name) ? this : super.on(name, listener)
  }

  override addListener(name: string | symbol, listener: AnyListener): this {
    return this.on(name, listener)
  }

  override once<Name extends keyof StoreEvents>(name: Name, listener: Listener<Name>): this
  override once(name: string | symbol, listener: AnyListener): this
  override once(name: string | symbol, listener: AnyListener): this {
    return super.once(name, listener)
  }

  protected reportShared(finding: Finding): void {
    process.nextTick(() => this.emit('shared-prefix', { finding }))
    decide({ decision: 'shared-prefix' })
    process.emitWarning(`${finding.message}. ${finding.action}.`, { type: 'SharedPrefixWarning' })
  }
}

// express-session adds these with each session(). A store never emits them: an outage is an error, not an absence.
function isNeverEmitted(name: string | symbol): boolean {
  return name === 'connect' || name === 'disconnect'
}

const warned = new Set<string>()

/** Warns the process, once for each code. */
export function warnOnce(code: string, message: string): void {
  if (warned.has(code)) return
  warned.add(code)
  process.emitWarning(message, { code })
}
