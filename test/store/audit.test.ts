import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { leafHash } from '../../src/domain/audit.ts'
import { canonicalJson, type JsonObject } from '../../src/domain/json.ts'
import { makeAudit } from '../support/entities.ts'

describe('audit leaves', () => {
  it('are written the same whatever the order of the keys', () => {
    const a = { b: [1, { d: null, c: 'é"' }], a: true }
    const b = { a: true, b: [1, { c: 'é"', d: null }] }

    expect(canonicalJson(a)).toBe('{"a":true,"b":[1,{"c":"é\\"","d":null}]}')
    expect(canonicalJson(b)).toBe(canonicalJson(a))
  })

  it('hash 0x00 and the canonical row, so that no inner node passes for a leaf', () => {
    const row = makeAudit({ facts: { n: 1.5 } })
    const bytes = Buffer.from(`\0${canonicalJson(row as unknown as JsonObject)}`)

    expect(leafHash(row)).toBe(createHash('sha256').update(bytes).digest('hex'))
    expect(leafHash({ ...row, facts: { n: 1.6 } })).not.toBe(leafHash(row))
  })
})
