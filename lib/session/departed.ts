import { isDevice, type SessionDevice } from './device.ts'
import { decodeEnding, encodeEnding, type SessionEnding } from './ending.ts'

/** What its owner's registry remembers of a session that was ended. */
export interface DepartedSession {
  readonly createdAtMs: number
  readonly device: SessionDevice | undefined
  readonly ending: SessionEnding
}

export function encodeDeparted({ createdAtMs, device, ending }: DepartedSession): Buffer {
  return Buffer.from(
    JSON.stringify({ created: createdAtMs, device, ending: encodeEnding(ending).toString() }),
  )
}

/** Strict: anything but what {@link encodeDeparted} writes is `undefined`. */
export function decodeDeparted(bytes: Buffer): DepartedSession | undefined {
  try {
    const {
      created,
      device,
      ending: text,
      ...unknown
    } = JSON.parse(bytes.toString()) as Record<string, unknown>
    const ending = typeof text === 'string' ? decodeEnding(Buffer.from(text)) : undefined
    if (!Number.isSafeInteger(created) || ending === undefined || Object.keys(unknown).length > 0)
      return undefined
    if (device !== undefined && !isDevice(device)) return undefined
    return { createdAtMs: created as number, device, ending }
  } catch {
    return undefined
  }
}
