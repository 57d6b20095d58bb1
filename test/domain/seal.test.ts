import { randomBytes } from 'node:crypto'
import { assert, property, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rewrap, seal, SealBroken, sealKeyIdOf, sealKeyOf, unseal } from '../../src/domain/seal.ts'
import { Secret } from '../../src/domain/secret.ts'

const place = { tenant: 't', credential: 'c', keyId: 'k' }
const rootA = randomBytes(32)
const a = sealKeyOf(Secret.of(Buffer.from(rootA)))
const b = sealKeyOf(Secret.of(randomBytes(32)))
const token = 'ghs_a-token-nobody-may-read'
const sealed = (): string => seal(Secret.ofText(token), place, a, randomBytes)
const textOf = (secret: Secret): string => secret.use((bytes) => bytes.toString('utf8'))

describe('a sealed secret', () => {
  it('opens to the same bytes, whatever they are, and never shows them', () => {
    assert(
      property(uint8Array({ maxLength: 300 }), (bytes) => {
        const plain = Buffer.from(bytes)
        const envelope = seal(Secret.of(Buffer.from(bytes)), place, a, randomBytes)

        expect(unseal(envelope, place, [b, a]).use((out) => out.equals(plain))).toBe(true)
        const shown = Buffer.from(envelope.split('.')[3]!, 'base64url')
        expect(plain.length > 7 && shown.includes(plain)).toBe(false)
      }),
      { numRuns: 50 },
    )
  })

  it.each([0, 1, 2])('does not open when any one bit of its text is another (%i)', (more) => {
    // Of three lengths in a row, two leave bits in their last character that base64 ignores.
    const envelope = seal(Secret.ofText(token + 'x'.repeat(more)), place, a, randomBytes)

    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const changed = Buffer.from(envelope, 'latin1')
      changed[bit >> 3]! ^= 1 << (bit & 7)
      const text = changed.toString('latin1')
      expect(() => unseal(text, place, [a, b]), `bit ${bit}`).toThrow(SealBroken)
    }
  })

  it('does not open when it was cut at any place, or made longer', () => {
    const envelope = sealed()

    for (let length = 0; length < envelope.length; length++) {
      expect(() => unseal(envelope.slice(0, length), place, [a]), String(length)).toThrow(
        SealBroken,
      )
    }
    for (const more of ['A', '=', '.', '.A', ' ', '\n']) {
      expect(() => unseal(envelope + more, place, [a]), JSON.stringify(more)).toThrow(SealBroken)
    }
  })

  it.each([
    ['tenant', { ...place, tenant: 'other' }],
    ['credential', { ...place, credential: 'other' }],
    ['key', { ...place, keyId: 'other' }],
    ['parts, joined otherwise', { ...place, tenant: 'tc', credential: '' }],
  ])('does not open for another %s', (_, other) => {
    expect(() => unseal(sealed(), other, [a])).toThrow(SealBroken)
    expect(() => rewrap(sealed(), other, [a], b, randomBytes)).toThrow(SealBroken)
  })

  it('does not open with the data key of another, wrapped under the same key for the same place', () => {
    const [one, two] = [sealed().split('.'), sealed().split('.')]

    const mixed = [one[0], one[1], one[2], two[3]].join('.')

    expect(() => unseal(mixed, place, [a])).toThrow(SealBroken)
  })

  it('does not open without the key that sealed it, and says the same as for every other cause', () => {
    const named = { id: a.id, key: b.key }
    const said = [
      () => unseal(sealed(), place, [b]),
      () => unseal(sealed(), place, [named]),
      () => unseal('abc', place, [a]),
      () => unseal(sealed(), { ...place, keyId: 'other' }, [a]),
    ].map((attempt) => {
      try {
        attempt()
        return 'it opened'
      } catch (error) {
        return String(error)
      }
    })

    expect([...new Set(said)]).toEqual(['SealBroken: a sealed secret cannot be opened'])
  })

  it('is wrapped by another key without its sealed bytes being touched', () => {
    const before = sealed()

    const after = rewrap(before, place, [a], b, randomBytes)

    expect(textOf(unseal(after, place, [b]))).toBe(token)
    expect(() => unseal(after, place, [a])).toThrow(SealBroken)
    expect([sealKeyIdOf(before), sealKeyIdOf(after), sealKeyIdOf('x')]).toEqual([a.id, b.id, null])
    expect(after.split('.')[3]).toBe(before.split('.')[3])
    expect(after.split('.')[2]).not.toBe(before.split('.')[2])
  })

  it('never looks the same twice', () => {
    expect(new Set(Array.from({ length: 20 }, sealed)).size).toBe(20)
  })

  it('has a key named by what it is: the same from the same bytes, and only from those', () => {
    expect(sealKeyOf(Secret.of(Buffer.from(rootA))).id).toBe(a.id)
    expect(a.id).toMatch(/^[0-9a-f]{16}$/)
    expect(b.id).not.toBe(a.id)
  })
})
