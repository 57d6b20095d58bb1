import { describe, expect, it } from 'vitest'
import { faultsIn, filesOf, provenBy, readPage, rowsOf } from '../support/proofs.ts'

const lines = rowsOf(readPage('failure-modes.md')).map(
  ([number = '', field = '', custody = '', proof = '', ...more]) => ({
    number,
    field,
    custody,
    more,
    ...provenBy(proof),
  }),
)

describe('the table of failure modes', () => {
  it('has each requirement exactly once, in order', () => {
    const all = [...Array(89).keys()].map((n) => `R${String(n + 1).padStart(2, '0')}`)

    expect(lines.map((line) => line.number)).toEqual(all)
  })

  it.each(lines)(
    'says of $number what goes wrong, what Custody does, and how that is known',
    (line) => {
      expect(line.field.length).toBeGreaterThan(20)
      expect(line.custody.length).toBeGreaterThan(20)
      expect(line.more).toEqual([])
      expect(line.proofs.length > 0 || line.reason!.length > 30).toBe(true)
    },
  )

  it.each(filesOf(lines))('names tests of %s that are there, and none that is skipped', (file) => {
    expect(faultsIn(file, lines)).toEqual([])
  })
})
