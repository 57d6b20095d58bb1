import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Frontier, Hash, Range, Tile, TreeNode } from '../../src/domain/merkle.ts'
import {
  consistencyRanges,
  emptyFrontier,
  emptyRoot,
  grow,
  hashLeaf,
  hashOfRange,
  inclusionRanges,
  isConsistent,
  rootFromInclusion,
  rootOf,
  tilesOf,
  tileWidth,
} from '../../src/domain/merkle.ts'

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
const split = (n: number): number => {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

/** The definitions of RFC 6962 §2.1 word by word, over hashed leaves. */
function mth(leaves: readonly Hash[]): Hash {
  if (leaves.length === 0) return sha256().toString('hex')
  if (leaves.length === 1) return leaves[0]!
  const k = split(leaves.length)
  return sha256(
    Uint8Array.of(1),
    Buffer.from(mth(leaves.slice(0, k)), 'hex'),
    Buffer.from(mth(leaves.slice(k)), 'hex'),
  ).toString('hex')
}
function path(m: number, leaves: readonly Hash[]): Hash[] {
  if (leaves.length <= 1) return []
  const k = split(leaves.length)
  return m < k
    ? [...path(m, leaves.slice(0, k)), mth(leaves.slice(k))]
    : [...path(m - k, leaves.slice(k)), mth(leaves.slice(0, k))]
}
function subproof(m: number, leaves: readonly Hash[], known: boolean): Hash[] {
  if (m === leaves.length) return known ? [] : [mth(leaves)]
  const k = split(leaves.length)
  return m <= k
    ? [...subproof(m, leaves.slice(0, k), known), mth(leaves.slice(k))]
    : [...subproof(m - k, leaves.slice(k), false), mth(leaves.slice(0, k))]
}

const leavesOf = (size: number, salt = ''): Hash[] =>
  Array.from({ length: size }, (_, i) => hashLeaf(`${salt}${i}`))

/** Appends in batches, keeping what a store would keep. */
function build(leaves: readonly Hash[], batch = leaves.length || 1) {
  const nodes: TreeNode[] = []
  let frontier: Frontier = emptyFrontier
  for (let at = 0; at < leaves.length; at += batch) {
    const grown = grow(frontier, leaves.slice(at, at + batch))
    frontier = grown.frontier
    nodes.push(...grown.nodes)
  }
  const read = ({ level, index }: Tile): readonly Hash[] =>
    level === 0
      ? leaves.slice(index * tileWidth, (index + 1) * tileWidth)
      : nodes
          .filter((n) => n.level === level && Math.floor(n.index / tileWidth) === index)
          .sort((a, b) => a.index - b.index)
          .map((n) => n.hash)
  const hashes = (ranges: readonly Range[]): Hash[] => ranges.map((r) => hashOfRange(r, read))
  return { frontier, nodes, hashes }
}

const size = fc.integer({ min: 0, max: 700 })

describe('the Merkle tree', () => {
  it('has the roots that RFC 6962 logs publish', () => {
    // Inputs and roots of the reference implementation of Certificate Transparency.
    const inputs = [
      '',
      '00',
      '10',
      '2021',
      '3031',
      '40414243',
      '5051525354555657',
      '606162636465666768696a6b6c6d6e6f',
    ]
    const leaves = inputs.map((i) => sha256(Buffer.from(`00${i}`, 'hex')).toString('hex'))

    expect(emptyRoot).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    expect(rootOf(build(leaves.slice(0, 1)).frontier)).toBe(
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    )
    expect(rootOf(build(leaves).frontier)).toBe(
      '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
    )
  })

  it('is the recursive definition, in whatever batches it grows', () => {
    fc.assert(
      fc.property(size, fc.integer({ min: 1, max: 300 }), (n, batch) => {
        const leaves = leavesOf(n)
        const { frontier } = build(leaves, batch)

        expect(frontier.size).toBe(n)
        expect(rootOf(frontier)).toBe(mth(leaves))
      }),
      { numRuns: 60 },
    )
  })

  it('proves every leaf by the path of the definition, read from a few tiles', () => {
    fc.assert(
      fc.property(size, fc.nat(), (n, pick) => {
        fc.pre(n > 0)
        const leaves = leavesOf(n)
        const { hashes } = build(leaves)
        const index = pick % n
        const ranges = inclusionRanges(index, n)
        const proof = hashes(ranges)

        expect(proof).toEqual(path(index, leaves))
        expect(tilesOf(ranges).length).toBeLessThanOrEqual(4)
        expect(rootFromInclusion(leaves[index]!, index, n, proof)).toBe(mth(leaves))
      }),
      { numRuns: 60 },
    )
  })

  it('proves that it only grew by the proof of the definition', () => {
    fc.assert(
      fc.property(size, fc.nat(), (to, pick) => {
        const leaves = leavesOf(to)
        const from = pick % (to + 1)
        const proof = build(leaves).hashes(consistencyRanges(from, to))
        const [fromRoot, toRoot] = [mth(leaves.slice(0, from)), mth(leaves)]

        expect(proof).toEqual(from === 0 ? [] : subproof(from, leaves, true))
        expect(isConsistent({ from, fromRoot, to, toRoot, path: proof })).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('believes no other leaf, place, size, root or path', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(), (n, a, b) => {
        const leaves = leavesOf(n)
        const { hashes } = build(leaves)
        const index = a % n
        const proof = hashes(inclusionRanges(index, n))
        const root = mth(leaves)
        const other = hashLeaf('other')
        const bent = proof.with(b % proof.length, other)

        expect(rootFromInclusion(other, index, n, proof)).not.toBe(root)
        expect(rootFromInclusion(leaves[index]!, (index + 1) % n, n, proof)).not.toBe(root)
        expect(rootFromInclusion(leaves[index]!, index, n, bent)).not.toBe(root)
        expect(rootFromInclusion(leaves[index]!, index, n, [...proof, other])).toBeNull()
        expect(rootFromInclusion(leaves[index]!, n, n, proof)).toBeNull()
      }),
      { numRuns: 60 },
    )
  })

  it('takes no rewritten tree for a grown one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(), (to, a, b) => {
        const from = 1 + (a % (to - 1))
        const leaves = leavesOf(to)
        const rewritten = leaves.with(b % from, hashLeaf('rewritten'))
        const fromRoot = mth(leaves.slice(0, from))
        const proof = build(rewritten).hashes(consistencyRanges(from, to))
        const claim = { from, fromRoot, to, toRoot: mth(rewritten), path: proof }

        expect(isConsistent(claim)).toBe(false)
        expect(isConsistent({ ...claim, path: proof.slice(1) })).toBe(false)
        expect(isConsistent({ ...claim, path: [...proof, fromRoot] })).toBe(false)
      }),
      { numRuns: 60 },
    )
  })

  it('reaches beyond 2^32 leaves, where bit operations end', () => {
    const n = 2 ** 40 + 3

    expect(inclusionRanges(n - 1, n)).toEqual([
      { start: 2 ** 40, end: n - 1 },
      { start: 0, end: 2 ** 40 },
    ])
    expect(tilesOf(inclusionRanges(5, n)).length).toBeLessThanOrEqual(7)
  })
})
