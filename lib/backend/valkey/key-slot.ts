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
