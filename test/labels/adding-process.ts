// Run by monotone.test.ts as a process of its own: adds the labels it is told to, all at once.
import { openValkey } from './subjects.ts'

export interface Adding {
  readonly sid: string
  readonly labels: readonly string[]
}

const { store } = openValkey(process.argv[2] ?? '')

process.on('message', ({ sid, labels }: Adding) => {
  Promise.all(labels.map((label) => store.add(sid, [label], { atLeastMs: 600_000 }))).then(
    () => process.send?.('added'),
    (error: unknown) => process.send?.(String(error)),
  )
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
