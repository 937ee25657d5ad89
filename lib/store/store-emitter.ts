import { Store } from 'express-session'
import type { StoreEvents } from './store-events.ts'

type AnyListener = Parameters<Store['on']>[1]
type Listener<Name extends keyof StoreEvents> = (...facts: StoreEvents[Name]) => void

/** express-session's `Store`, which is an EventEmitter, with listeners that know what they are told. */
export abstract class StoreEmitter extends Store {
  override on<Name extends keyof StoreEvents>(name: Name, listener: Listener<Name>): this
  override on(name: string | symbol, listener: AnyListener): this
  override on(name: string | symbol, listener: AnyListener): this {
    return super.on(name, listener)
  }

  override once<Name extends keyof StoreEvents>(name: Name, listener: Listener<Name>): this
  override once(name: string | symbol, listener: AnyListener): this
  override once(name: string | symbol, listener: AnyListener): this {
    return super.once(name, listener)
  }
}
