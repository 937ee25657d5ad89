// Hands bytes on to a server, and its replies back a while later, in a process of its own. Started by link.ts.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { serve, startedWith } from './subject.ts'

export type LinkTask = 'port' | 'turns'

const { port, delayMs } = startedWith<{ readonly port: number; readonly delayMs: number }>()
let turns = 0

const proxy = createServer((client) => {
  const server = connect(port, '127.0.0.1').setNoDelay(true)
  client.setNoDelay(true)
  let isAnswered = true
  client.on('data', (chunk) => {
    // What is sent before the last reply came is the same turn.
    if (isAnswered) turns += 1
    isAnswered = false
    server.write(chunk)
  })
  later(server, (chunk) => {
    isAnswered = true
    client.write(chunk)
  })
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const) {
    one.on('close', () => other.destroy())
    one.on('error', () => other.destroy())
  }
})
proxy.listen(0, '127.0.0.1')
await once(proxy, 'listening')

serve<LinkTask>(async (task) => (task === 'turns' ? turns : (proxy.address() as AddressInfo).port))

/** Hands each chunk on once it is old enough, in order. */
function later(from: Socket, handOn: (chunk: Buffer) => void): void {
  const waiting: { readonly chunk: Buffer; readonly dueMs: number }[] = []
  from.on('data', (chunk: Buffer) => {
    waiting.push({ chunk, dueMs: performance.now() + delayMs })
    if (waiting.length === 1) handOnDue()
  })
  function handOnDue(): void {
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      // A timer has whole milliseconds, and may come a part of one early.
      if (next.dueMs > performance.now()) return void setTimeout(handOnDue, next.dueMs - performance.now())
      waiting.shift()
      handOn(next.chunk)
    }
  }
}
