import { describe, expect, it } from 'vitest'
import { distinctLabels, isLabel } from '../../lib/labels/label.ts'

describe('a label', () => {
  it.each(['a', 'A', '7', 'pii', 'PII', 'gdpr:special/health', 'level-3.1_b', 'x'.repeat(64)])(
    'may be %j',
    (label) => {
      expect(isLabel(label)).toBe(true)
    },
  )

  it.each([
    '',
    ' pii',
    'pii ',
    'pii\n',
    '-pii',
    '.pii',
    ':pii',
    '!pii',
    'p i',
    'pïi',
    'p\0i',
    'p*i',
    'p{i}',
    'x'.repeat(65),
    7,
    null,
    undefined,
    ['pii'],
    { toString: () => 'pii' },
  ])('may not be %j', (label) => {
    expect(isLabel(label)).toBe(false)
    expect(() => distinctLabels(['fine', label])).toThrow(TypeError)
  })

  it('counts once, with its case', () => {
    expect(distinctLabels(['b', 'a', 'b', 'B'])).toEqual(['b', 'a', 'B'])
  })

  it('is not quoted when it is none', () => {
    expect(() => distinctLabels(['alice@example.org'])).toThrow(expect.not.stringContaining('alice'))
  })

  it('comes in a list', () => {
    expect(() => distinctLabels('pii' as unknown as string[])).toThrow(/^Labels must be given as a list/)
  })
})
