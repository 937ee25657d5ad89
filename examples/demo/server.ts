import { parseArgs } from 'node:util'
import type { Demo } from './demo.ts'
import { startLocalValkey } from './local-valkey.ts'
import { keptSecrets } from './secrets.ts'
import { type DemoSettings, type RunningDemo, startDemo } from './start.ts'

const USUAL_PORT = 3000

const { values: flags } = parseArgs({ options: { valkey: { type: 'boolean', default: false } } })
const valkey = flags.valkey ? await startLocalValkey() : undefined
if (flags.valkey && valkey === undefined) {
  console.error(
    '--valkey: no valkey-server or redis-server ≥ 7.0 is installed, and `npm test` has fetched none yet.',
  )
  process.exit(1)
}
const valkeyUrl = process.env['VALKEY_URL']
const { demo, stop } = await start({
  valkey,
  valkeyUrl,
  secrets: (valkey ?? valkeyUrl) ? keptSecrets() : undefined,
})
stopOnSignal(stop)

console.log(`express-session-valkey demo

  Open      ${demo.origin}
  Sessions  ${placeOf(demo)}
  Stop      with Ctrl+C
`)
if (!(await demo.store.health()).isReady)
  console.log('  Valkey does not answer. Requests get 503 until it does.\n')

/** Listens on `PORT`, else on the usual port or, if that is taken, on any. */
async function start(settings: Omit<DemoSettings, 'port'>): Promise<RunningDemo> {
  const wanted = process.env['PORT']
  try {
    return await startDemo({ ...settings, port: Number(wanted ?? USUAL_PORT) })
  } catch (error) {
    const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
    if (isTaken && wanted === undefined) return startDemo({ ...settings, port: 0 })
    await valkey?.stop()
    throw error
  }
}

function placeOf({ valkey, valkeyUrl }: Demo): string {
  if (valkey)
    return `are kept on a Valkey of the demo's own. A second instance shares them:
            VALKEY_URL=${valkey.url} npm run demo`
  if (valkeyUrl) return `are kept on Valkey at ${new URL(valkeyUrl).host}.`
  return 'are kept in this process. With Valkey: npm run demo -- --valkey, or set VALKEY_URL.'
}

function stopOnSignal(stop: () => Promise<void>): void {
  let isStopping = false
  const once = async () => {
    if (isStopping) return
    isStopping = true
    await stop()
    // A lab that runs still waits for its own outage to end.
    process.exit()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, once)
}
