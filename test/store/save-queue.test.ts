import { describe, expect, test } from 'vitest'
import { SaveQueue } from '../../lib/store/save-session.ts'
import { createGate } from './gate.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a SaveQueue', () => {
  test('runs the saves of one handle one after the other, in the order they were asked for', async () => {
    const queue = new SaveQueue()
    const gates = [createGate(), createGate(), createGate()]
    const log: string[] = []
    const saves = gates.map((gate, at) =>
      queue.run('a', async () => {
        log.push(`begin ${at}`)
        await gate.opened
        log.push(`end ${at}`)
      }),
    )

    for (const gate of [...gates].reverse()) gate.open()
    await Promise.all(saves)

    expect(log).toEqual(['begin 0', 'end 0', 'begin 1', 'end 1', 'begin 2', 'end 2'])
  })

  test('runs saves of different handles beside each other', async () => {
    const queue = new SaveQueue()
    const gate = createGate()
    const slow = queue.run('a', () => gate.opened)

    await expect(queue.run('b', async () => 'done')).resolves.toBe('done')

    gate.open()
    await slow
  })

  test('goes on after a failure, which only its own caller sees', async () => {
    const queue = new SaveQueue()
    const failing = queue.run('a', async () => {
      throw new Error('first')
    })
    const next = queue.run('a', async () => 'second')

    await expect(failing).rejects.toThrow('first')
    await expect(next).resolves.toBe('second')
  })

  test('runs a save that comes when all before it are done', async () => {
    const queue = new SaveQueue()
    await queue.run('a', async () => {})
    await turn()

    await expect(queue.run('a', async () => 'later')).resolves.toBe('later')
  })
})
