import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { leafHash, type AuditRow } from '../../src/domain/audit.ts'
import { verifyProof } from '../../src/domain/audit-proof.ts'
import { createSigner, parseVerifierKey } from '../../src/domain/checkpoint.ts'
import { canonicalJson, type Json, type JsonObject } from '../../src/domain/json.ts'
import {
  consistencyRanges,
  type Hash,
  hashNode,
  inclusionRanges,
  type Range,
} from '../../src/domain/merkle.ts'
import { Secret } from '../../src/domain/secret.ts'
import { makeAudit } from '../support/entities.ts'

interface Step {
  readonly what: string
  readonly isGood: boolean
  readonly detail: string
}
interface Browser {
  canonicalJson(value: Json): string
  leafOf(row: AuditRow): Promise<Hash>
  parseKey(text: string): Promise<{ readonly name: string; readonly id: string } | null>
  openCheckpoint(note: string, key: unknown): Promise<object | string>
  verifyProof(
    proof: object,
    key: unknown,
  ): Promise<{ readonly isGood: boolean; readonly steps: readonly Step[] }>
  isConsistent(growth: object): Promise<boolean>
}

// Browser code has no types of its own for Node.
const file: string = '../../src/console/web/lib/proof.js'
const browser = (await import(file)) as Browser

const signer = createSigner(Secret.of(randomBytes(32)))
const tenant = 'default'
const key = await browser.parseKey(signer.verifierKeyOf(tenant))

const rows = Array.from({ length: 21 }, (_, i) => makeAudit({ facts: { n: i, é: ['ü', null] } }))
const leaves = rows.map(leafHash)
const rootOf = (from: number, to: number): Hash => {
  if (to - from === 1) return leaves[from]!
  let half = 1
  while (half * 2 < to - from) half *= 2
  return hashNode(rootOf(from, from + half), rootOf(from + half, to))
}
const hashes = (ranges: readonly Range[]) => ranges.map(({ start, end }) => rootOf(start, end))

function proofOf(seq: number, size: number) {
  const [row, leaf] = [rows[seq]!, leaves[seq]!]
  const checkpoint = signer.sign(tenant, size, rootOf(0, size))
  return { id: row.id, seq, leaf, size, path: hashes(inclusionRanges(seq, size)), checkpoint, row }
}

describe('the log, verified in the browser', () => {
  it('holds for every entry of every tree, as the server made them', async () => {
    for (let size = 1; size <= rows.length; size++) {
      for (let seq = 0; seq < size; seq += 3) {
        const { isGood, steps } = await browser.verifyProof(proofOf(seq, size), key)
        expect(isGood, `${seq} of ${size}: ${JSON.stringify(steps)}`).toBe(true)
      }
    }
  })

  const good = proofOf(5, 13)
  const other = createSigner(Secret.of(randomBytes(32)))
  it.each([
    ['an entry that was changed', { ...good, row: { ...good.row, action: 'key.refused' } }, 0],
    ['an entry and its leaf', { ...good, row: rows[6]!, leaf: leaves[6]! }, 0],
    ['another place', { ...good, seq: 4 }, 2],
    ['a path that lacks a hash', { ...good, path: good.path.slice(1) }, 2],
    ['a path of no hashes', { ...good, path: good.path.map(() => 'x') }, 2],
    [
      'a checkpoint of another key',
      { ...good, checkpoint: other.sign(tenant, 13, rootOf(0, 13)) },
      1,
    ],
    [
      'a signature below other numbers',
      { ...good, checkpoint: good.checkpoint.replace('\n13\n', '\n14\n') },
      1,
    ],
    [
      'the checkpoint of another tree',
      { ...good, checkpoint: signer.sign(tenant, 13, leaves[0]!) },
      2,
    ],
    ['a note that was cut', { ...good, checkpoint: good.checkpoint.slice(0, -1) }, 1],
  ])('refuses %s, and says at which step', async (_what, proof, step) => {
    const { isGood, steps } = await browser.verifyProof(proof, key)

    expect(isGood).toBe(false)
    expect(steps.map((s) => s.isGood)).toEqual([...Array<boolean>(step).fill(true), false])
  })

  it('knows a tree that only grew from one that was written anew', async () => {
    for (let from = 1; from <= rows.length; from += 2) {
      const to = rows.length
      const growth = {
        from,
        fromRoot: rootOf(0, from),
        to,
        toRoot: rootOf(0, to),
        path: from === to ? [] : hashes(consistencyRanges(from, to)),
      }
      expect(await browser.isConsistent(growth), `${from}`).toBe(true)
      expect(await browser.isConsistent({ ...growth, fromRoot: leaves[20]! })).toBe(false)
    }
  })

  it('writes proofs that the command line takes, and it refuses what the browser refuses', async () => {
    const file = {
      proof: 'custody-proof/1',
      key: signer.verifierKeyOf(tenant),
      ...good,
    } as unknown as JsonObject
    const pinned = parseVerifierKey(signer.verifierKeyOf(tenant))!
    const anchored = (root: Hash) => verifyProof(file, pinned, [{ size: 13, root }]).ok

    expect(verifyProof(file, pinned)).toMatchObject({ ok: true, place: 5, row: rows[5] })
    expect([anchored(rootOf(0, 13)), anchored(leaves[0]!)]).toEqual([true, false])
    for (const bad of [
      { ...file, proof: 'custody-proof/0' },
      { ...file, seq: 6 },
      { ...file, id: rows[6]!.id },
      { ...file, row: { ...good.row, action: 'key.refused' } },
      { ...file, path: ['x'] },
      { ...file, checkpoint: other.sign(tenant, 13, rootOf(0, 13)) },
    ]) {
      expect(verifyProof(bad as JsonObject, pinned).ok).toBe(false)
    }
  })

  it('takes a key only whose id is the one of its bytes', async () => {
    const text = signer.verifierKeyOf(tenant)

    expect(key).toMatchObject({ name: signer.originOf(tenant) })
    for (const bad of ['', 'x', text.replace('+', '+0'), text.replace('default', 'other')]) {
      expect(await browser.parseKey(bad), bad).toBeNull()
    }
  })

  it('writes JSON as the server does', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const json = JSON.parse(JSON.stringify(value)) as Json
        expect(browser.canonicalJson(json)).toBe(canonicalJson(json))
      }),
      { numRuns: 50 },
    )
  })
})
