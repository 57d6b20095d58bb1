import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Secret } from '../../src/domain/secret.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { cursorSecondsMax, openCursor, sealCursor } from '../../src/scim/cursor.ts'

const now = '2026-11-01T00:00:00.000Z' as Instant
const key = Secret.of(Buffer.alloc(32, 7))
const position = [{ endpoint: '/Users', after: '01939f2e-0000-7000-8000-000000000000' }]
const binding = ['default', 'client', '/Users', 'userName pr', null, null, 100] as const
const code = (act: () => unknown): string => {
  try {
    act()
    return 'opened'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('a cursor', () => {
  it('comes back as the position it was made of, in characters a URI needs not escape', () => {
    fc.assert(
      fc.property(fc.string(), fc.array(fc.oneof(fc.string(), fc.integer())), (after, bound) => {
        const cursor = sealCursor(key, bound, [{ endpoint: '/Users', after }], now)
        expect(cursor).toMatch(/^[A-Za-z0-9._~-]+$/)
        expect(openCursor(key, bound, cursor, now)).toEqual([{ endpoint: '/Users', after }])
      }),
    )
  })

  it('opens with any bit changed no more than a word would', () => {
    const cursor = sealCursor(key, binding, position, now)
    fc.assert(
      fc.property(fc.nat(cursor.length - 1), fc.constantFrom('A', 'b', '_', '7'), (at, letter) => {
        fc.pre(cursor[at] !== letter)
        const forged = cursor.slice(0, at) + letter + cursor.slice(at + 1)
        // The last letter of base64url holds bits that no byte has: another spelling of the same.
        fc.pre(!Buffer.from(forged, 'base64url').equals(Buffer.from(cursor, 'base64url')))
        expect(code(() => openCursor(key, binding, forged, now))).toBe('invalidCursor')
      }),
    )
    for (const word of ['x', '', '%', 'a b', 'A'.repeat(9_000)]) {
      expect(code(() => openCursor(key, binding, word, now))).toBe('invalidCursor')
    }
  })

  it.each([
    ['another client', { 1: 'somebody' }],
    ['another filter', { 3: 'userName eq "x"' }],
    ['another count', { 6: 10 }],
    ['another endpoint', { 2: '/Credentials' }],
  ])('is as good as forged for %s', (_name, change) => {
    const cursor = sealCursor(key, binding, position, now)

    const other = Object.assign([...binding], change)

    expect(code(() => openCursor(key, other, cursor, now))).toBe('invalidCursor')
  })

  it('ends after its time', () => {
    const cursor = sealCursor(key, binding, position, now)

    const last = addSeconds(now, cursorSecondsMax)
    expect(code(() => openCursor(key, binding, cursor, last))).toBe('opened')
    expect(code(() => openCursor(key, binding, cursor, addSeconds(last, 1)))).toBe('expiredCursor')
  })
})
