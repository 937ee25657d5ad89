import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { deliver } from '../lib/operations.ts'

function delivered<Value>(outcome: Promise<Value>): Promise<readonly unknown[]> {
  return new Promise((resolve) => {
    deliver(outcome, (...args: unknown[]) => resolve(args))
  })
}

describe('deliver', () => {
  test('hands a value on as the second argument', async () => {
    expect(await delivered(Promise.resolve(5))).toEqual([null, 5])
  })

  test('hands a failure on as the only argument', async () => {
    const error = new Error('no')

    expect(await delivered(Promise.reject(error))).toEqual([error])
  })

  test('never calls back before it returns', async () => {
    const order: string[] = []
    const called = new Promise<void>((resolve) => {
      deliver(Promise.resolve(), () => {
        order.push('callback')
        resolve()
      })
    })
    order.push('returned')

    await called

    expect(order).toEqual(['returned', 'callback'])
  })

  // A process of its own: a test runner takes every uncaught exception for a failure of its own.
  test.each([
    ['a value', 'Promise.resolve(1)'],
    ['a failure', "Promise.reject(new Error('backend'))"],
  ])('makes what a callback throws on %s one uncaught exception, and never calls it again', (_, outcome) => {
    const program = `
      import { deliver } from './lib/operations.ts'
      process.on('uncaughtException', (error, origin) => console.log(error.message, origin))
      process.on('unhandledRejection', () => console.log('unhandled rejection'))
      deliver(${outcome}, () => { console.log('called'); throw new Error('mine') })
    `

    const { stdout } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', program],
      { encoding: 'utf8' },
    )

    expect(stdout).toBe('called\nmine uncaughtException\n')
  })
})
