import { type Place, type StoreKind, ValkeyKind } from './stores.ts'

/** The time, in ms, by the clock that decides what has expired there: asked, not carried on from an earlier answer. */
export async function decidingTime(kind: StoreKind, place: Place): Promise<number> {
  if (!(kind instanceof ValkeyKind)) return place.backend().now()
  // Waits for the connection, which the client itself does not.
  await place.backend().ping()
  const [seconds, micros] = (await kind.client.callBuffer('time')) as readonly Buffer[]
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
}
