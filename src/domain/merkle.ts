import { hash } from 'node:crypto'

/**
 * The append-only Merkle tree of RFC 6962 §2.1, over leaves that are hashed already. Nothing here
 * reads or keeps anything: a caller holds the frontier to append, and looks up tiles to prove.
 */

/** A SHA-256 hash as 64 lowercase hexadecimal digits. */
export type Hash = string

export const hashPattern = /^[0-9a-f]{64}$/

/** The root of no leaves at all. */
export const emptyRoot: Hash = hash('sha256', '')

/** `SHA-256(0x00 || data)`: the prefix keeps an inner node from passing for a leaf. */
export function hashLeaf(data: string): Hash {
  return hash('sha256', `\0${data}`)
}

/** `SHA-256(0x01 || left || right)`. */
export function hashNode(left: Hash, right: Hash): Hash {
  return hash('sha256', Buffer.from(`01${left}${right}`, 'hex'))
}

/** All that appending needs: the roots of the complete subtrees, the largest and oldest first. */
export interface Frontier {
  readonly size: number
  readonly nodes: readonly Hash[]
}

export const emptyFrontier: Frontier = { size: 0, nodes: [] }

/** The root of a complete subtree: leaves `index * 2^level` up to the next one's first. */
export interface TreeNode {
  readonly level: number
  readonly index: number
  readonly hash: Hash
}

/**
 * Only every eighth level is stored: 0.4 % more rows than leaves instead of 100 %, and a path
 * through a tree of 16 million leaves is computed from at most six tiles.
 */
const tileLevels = 8
export const tileWidth = 2 ** tileLevels

/**
 * Appends leaves.
 * @returns the new frontier, and the nodes that became complete on stored levels
 */
export function grow(
  frontier: Frontier,
  leaves: readonly Hash[],
): { readonly frontier: Frontier; readonly nodes: readonly TreeNode[] } {
  const stack = [...frontier.nodes]
  const nodes: TreeNode[] = []
  let { size } = frontier
  for (const leaf of leaves) {
    let [node, level, index] = [leaf, 0, size]
    for (; index % 2 === 1; index = (index - 1) / 2) {
      node = hashNode(stack.pop()!, node)
      level++
      if (level % tileLevels === 0) nodes.push({ level, index: (index - 1) / 2, hash: node })
    }
    stack.push(node)
    size++
  }
  return { frontier: { size, nodes: stack }, nodes }
}

export function rootOf({ nodes }: Frontier): Hash {
  return nodes.length === 0 ? emptyRoot : fold(nodes)
}

function fold(nodes: readonly Hash[]): Hash {
  return nodes.reduceRight((right, left) => hashNode(left, right))
}

/** Leaves `start` up to, and without, `end`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** The ranges whose hashes lead from a leaf to the root: PATH of RFC 6962 §2.1.1, deepest first. */
export function inclusionRanges(index: number, size: number): readonly Range[] {
  assertPlace(index, size)
  const ranges: Range[] = []
  let [start, end] = [0, size]
  while (end - start > 1) {
    const middle = start + splitOf(end - start)
    if (index < middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  return ranges.reverse()
}

/** The ranges that show a tree of `from` leaves to be the start of one of `to`: PROOF of §2.1.2. */
export function consistencyRanges(from: number, to: number): readonly Range[] {
  if (!(from >= 0 && from <= to)) throw new RangeError(`${from} is no size before ${to}`)
  if (from === 0 || from === to) return []
  const ranges: Range[] = []
  let [start, end] = [0, to]
  while (from < end) {
    const middle = start + splitOf(end - start)
    if (from <= middle) {
      ranges.push({ start: middle, end })
      end = middle
    } else {
      ranges.push({ start, end: middle })
      start = middle
    }
  }
  // The old root itself is known to whoever checks; any other complete subtree is not.
  if (start > 0) ranges.push({ start, end })
  return ranges.reverse()
}

/** Up to `tileWidth` neighbouring nodes of one stored level, from `index * tileWidth` on. */
export interface Tile {
  readonly level: number
  readonly index: number
}

/** Nodes that a tree of this size must have are not there: somebody removed them. */
export class TreeIncomplete extends Error {
  override readonly name = 'TreeIncomplete'
}

/** The tiles from which the hashes of `ranges` can be computed, each once. */
export function tilesOf(ranges: readonly Range[]): readonly Tile[] {
  const tiles = new Map<string, Tile>()
  for (const range of ranges) {
    for (const { tile } of piecesOf(range)) tiles.set(`${tile.level}/${tile.index}`, tile)
  }
  return [...tiles.values()]
}

/**
 * The root over one range of a path.
 * @param read the hashes of a tile, as many as there are
 * @throws TreeIncomplete
 */
export function hashOfRange(range: Range, read: (tile: Tile) => readonly Hash[]): Hash {
  return fold(
    piecesOf(range).map(({ tile, from, count }) => {
      let level = read(tile).slice(from, from + count)
      if (level.length !== count) {
        throw new TreeIncomplete(`nodes of tile ${tile.level}/${tile.index} are missing`)
      }
      while (level.length > 1) {
        level = Array.from({ length: level.length / 2 }, (_, i) =>
          hashNode(level[2 * i]!, level[2 * i + 1]!),
        )
      }
      return level[0]!
    }),
  )
}

/** The complete subtrees a range consists of, each as a run of stored nodes below it. */
function piecesOf({ start, end }: Range) {
  const pieces: { readonly tile: Tile; readonly from: number; readonly count: number }[] = []
  for (let at = start; at < end;) {
    const [width, level] = largestPower(end - at)
    const stored = level - (level % tileLevels)
    const count = 2 ** (level - stored)
    const first = at / 2 ** stored
    const index = Math.floor(first / tileWidth)
    pieces.push({ tile: { level: stored, index }, from: first - index * tileWidth, count })
    at += width
  }
  return pieces
}

/**
 * The root that an inclusion path leads to, for comparison with a signed one.
 * @returns null when the path is not as long as the place in the tree asks for
 */
export function rootFromInclusion(
  leaf: Hash,
  index: number,
  size: number,
  path: readonly Hash[],
): Hash | null {
  if (!(Number.isSafeInteger(size) && index >= 0 && index < size)) return null
  const ranges = inclusionRanges(index, size)
  if (ranges.length !== path.length) return null
  return ranges.reduce(
    (node, { start }, i) => (start > index ? hashNode(node, path[i]!) : hashNode(path[i]!, node)),
    leaf,
  )
}

export interface Consistency {
  readonly from: number
  readonly fromRoot: Hash
  readonly to: number
  readonly toRoot: Hash
  readonly path: readonly Hash[]
}

/** Whether the path shows that nothing of the older tree was changed, removed or put elsewhere. */
export function isConsistent({ from, fromRoot, to, toRoot, path }: Consistency): boolean {
  if (!(Number.isSafeInteger(to) && from >= 0 && from <= to)) return false
  if (from === 0) return path.length === 0 && fromRoot === emptyRoot
  if (from === to) return path.length === 0 && fromRoot === toRoot
  const ranges = consistencyRanges(from, to)
  if (ranges.length !== path.length) return false
  // A subtree inside both trees is where the climb starts; else it starts from the old root.
  const startsInside = ranges[0]!.end === from && ranges[0]!.start > 0
  const start = startsInside ? path[0]! : fromRoot
  let [older, newer] = [start, start]
  for (let i = startsInside ? 1 : 0; i < path.length; i++) {
    const sibling = path[i]!
    if (ranges[i]!.start >= from) newer = hashNode(newer, sibling)
    else {
      older = hashNode(sibling, older)
      newer = hashNode(sibling, newer)
    }
  }
  return older === fromRoot && newer === toRoot
}

function assertPlace(index: number, size: number): void {
  if (!(index >= 0 && index < size)) throw new RangeError(`${index} is no place among ${size}`)
}

/** The largest power of two that is less than `n`, which is at least 2. */
function splitOf(n: number): number {
  const [power] = largestPower(n)
  return power === n ? n / 2 : power
}

/** The largest power of two up to `n`, and its exponent; bit operations would end at 2^32. */
function largestPower(n: number): readonly [power: number, exponent: number] {
  let [power, exponent] = [1, 0]
  for (; power * 2 <= n; power *= 2) exponent++
  return [power, exponent]
}
