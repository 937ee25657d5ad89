import type { ClusterNode, ValkeyClient } from '../connection/client.ts'

const SLOTS = 16_384
const POLYNOMIAL = 0x1021

/** The cluster slot of one of our keys, all of which have a hash tag (Valkey Cluster specification: CRC-16/XMODEM). */
export function slotOf(key: string): number {
  const tag = key.slice(key.indexOf('{') + 1, key.lastIndexOf('}'))
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ POLYNOMIAL : crc << 1
  }
  return (crc & 0xffff) % SLOTS
}

/** The address of the primary that serves a key, as the client knows it; `undefined` where there is one server only. */
export function addressFor({ slots }: ValkeyClient, key: string): string | undefined {
  return slots?.[slotOf(key)]?.[0]
}

/** The addresses of all primaries of a cluster, as the client knows them. */
export function primaryAddresses({ slots = [] }: ValkeyClient): ReadonlySet<string> {
  const addresses = new Set<string>()
  for (const [primary] of Object.values(slots)) if (primary !== undefined) addresses.add(primary)
  return addresses
}

/** The connection to the primary at an address, if there is one. */
export function primaryAt(client: ValkeyClient, address: string | undefined): ClusterNode | undefined {
  return client.nodes?.('master').find(({ options }) => `${options.host}:${options.port}` === address)
}
