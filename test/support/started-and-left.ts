// Run by valkey.test.ts as a process of its own, to be killed while its server runs.
import { startValkey } from './valkey.ts'

const { pid, dir } = await startValkey()
process.stdout.write(JSON.stringify({ pid, dir }))
setInterval(() => undefined, 60_000)
