// The clients, in a process of their own: what they cost is not counted. Started by load.ts.
import autocannon from 'autocannon'
import { quantile } from './result.ts'
import { serve } from './subject.ts'

export interface LoadTask {
  readonly port: number
  /** All requests together. */
  readonly amount: number
  /** What each client sends, over and over, one request after the other. */
  readonly clients: readonly (readonly LoadRequest[])[]
  /** Has each client send the `refresh_token` of its last reply. */
  readonly isRefreshing?: boolean
}

export interface LoadRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface LoadReply {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

serve<LoadTask>(
  ({ port, amount, clients, isRefreshing = false }) =>
    new Promise<LoadReply>((resolve, reject) => {
      let started = 0
      const tookMs: number[] = []
      const running = autocannon(
        {
          url: `http://127.0.0.1:${port}`,
          connections: clients.length,
          amount,
          timeout: 60,
          // How soon it notices that all is done, in ms.
          sampleInt: 10,
          setupClient(client) {
            const requests = clients[started] ?? []
            started += 1
            const own = requests.map((request) => ({ ...request, headers: { ...request.headers } }))
            client.setRequests(isRefreshing ? own.map(refreshing) : own)
          },
        },
        (error: unknown) => (error ? reject(error) : undefined),
      )
      const startMs = performance.now()
      let failed: string | undefined
      running.on('response', (_client, status, _bytes, ms) => {
        if (status < 200 || status > 299) failed ??= `a reply was ${status}`
        tookMs.push(ms)
        if (tookMs.length < amount) return
        const perSecond = (1000 * amount) / (performance.now() - startMs)
        running.once('done', () => {
          if (failed) reject(new Error(failed))
          else resolve({ perSecond, p50Ms: quantile(tookMs, 0.5), p99Ms: quantile(tookMs, 0.99) })
        })
      })
      running.on('reqError', (error) => reject(error))
    }),
)

function refreshing(request: LoadRequest & { readonly headers: Record<string, string> }): autocannon.Request {
  let { body = '' } = request
  return {
    ...request,
    body,
    setupRequest: (built) => ({ ...built, body }),
    onResponse(status, reply) {
      if (status !== 200) return
      const { refresh_token: token } = JSON.parse(reply) as { readonly refresh_token: string }
      body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token }).toString()
    },
  }
}
