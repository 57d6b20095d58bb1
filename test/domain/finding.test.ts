import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { InventoryLevel } from '../../src/domain/finding.ts'
import { doubtOf } from '../../src/domain/finding.ts'
import { t0 } from '../support/entities.ts'

const level = (overrides: Partial<InventoryLevel> = {}): InventoryLevel => ({
  keys: 100,
  live: 100,
  missing: 0,
  inactive: 0,
  at: t0,
  ...overrides,
})
const counts = fc.nat({ max: 5_000 })
const levels = fc.tuple(counts, counts, counts, counts).map(([keys, live, a, b]) =>
  level({
    keys,
    live,
    missing: Math.min(a, live),
    inactive: Math.min(b, live - Math.min(a, live)),
  }),
)

describe('the doubt about an inventory', () => {
  it.each([
    ['what was there before', level(), level(), 0, null],
    ['a tenth less', level({ keys: 90, missing: 10 }), level(), 0, null],
    ['more than a tenth less', level({ keys: 89, missing: 11 }), level(), 0, 'shrunk'],
    ['less, because we deleted it', level({ keys: 50, live: 50 }), level(), 50, null],
    ['less of what is not ours', level({ keys: 80 }), level(), 0, 'shrunk'],
    ['one of three less', level({ keys: 2, live: 3, missing: 1 }), level({ keys: 3 }), 0, null],
    ['two of three less', level({ keys: 1, live: 3, missing: 2 }), level({ keys: 3 }), 0, 'shrunk'],
    ['nothing at all', level({ keys: 0, missing: 100 }), level(), 0, 'shrunk'],
    ['nothing at first', level({ keys: 0, missing: 100 }), null, 0, 'shrunk'],
    ['all, and many of it off', level({ inactive: 11 }), level(), 0, 'massDisabled'],
    ['what was off before', level({ inactive: 40 }), level({ inactive: 40 }), 0, null],
    [
      'what was missing before',
      level({ keys: 60, missing: 40 }),
      level({ keys: 60, missing: 40 }),
      0,
      null,
    ],
    ['nothing where there never was anything', level({ keys: 0, live: 0 }), null, 0, null],
  ] as const)('is right about %s', (_, now, base, deleted, doubt) => {
    expect(doubtOf(now, base, deleted)).toBe(doubt)
  })

  it('never arises from what was believed a moment ago', () => {
    fc.assert(
      fc.property(levels, (now) => {
        expect(doubtOf(now, now, 0)).toBeNull()
      }),
    )
  })

  it('only grows with what is lost', () => {
    fc.assert(
      fc.property(levels, levels, counts, counts, (now, base, deleted, more) => {
        fc.pre(doubtOf(now, base, deleted) !== null)
        const lost = Math.min(more, now.keys)
        const worse = { ...now, keys: now.keys - lost, missing: now.missing + more }
        expect(doubtOf(worse, base, deleted)).not.toBeNull()
      }),
    )
  })

  it('always arises when more than a tenth of many keys is gone and nobody deleted it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 5_000 }),
        fc.double({ min: 0.11, max: 1, noNaN: true }),
        (keys, part) => {
          const left = Math.floor(keys * (1 - part))
          const now = level({ keys: left, live: keys, missing: keys - left })
          expect(doubtOf(now, level({ keys, live: keys }), 0)).toBe('shrunk')
        },
      ),
    )
  })
})
