import type { TenantId } from '../domain/ids.ts'
import type { Hash, Range, Tile } from '../domain/merkle.ts'
import {
  consistencyRanges,
  emptyRoot,
  hashOfRange,
  inclusionRanges,
  tilesOf,
  tileWidth,
} from '../domain/merkle.ts'
import type { Store } from '../store/store.ts'

/** Proofs from what is stored: each reads at most two tiles per stored level. */
export interface AuditTree {
  readonly tenant: TenantId
  readonly read: Store['read']
}

/** @param index of a row below `size`, which the tree has reached */
export function inclusionProof(tree: AuditTree, index: number, size: number) {
  return hashesOf(tree, inclusionRanges(index, size))
}

export function consistencyProof(tree: AuditTree, from: number, to: number) {
  return hashesOf(tree, consistencyRanges(from, to))
}

/** The root the tree had at `size`. @throws when it has not grown that far */
export async function rootAt(tree: AuditTree, size: number): Promise<Hash> {
  if (size === 0) return emptyRoot
  const [root] = await hashesOf(tree, [{ start: 0, end: size }])
  return root!
}

/** What an anchor is compared with: the trees as this database has them. */
export function treesOf(read: Store['read']) {
  return {
    sizeOf: async (tenant: string): Promise<number> =>
      (await read.auditHead(tenant as TenantId))?.frontier.size ?? 0,
    rootAt: (tenant: string, size: number): Promise<Hash> =>
      rootAt({ tenant: tenant as TenantId, read }, size),
  }
}

async function hashesOf(
  { tenant, read }: AuditTree,
  ranges: readonly Range[],
): Promise<readonly Hash[]> {
  const known = new Map<string, readonly Hash[]>()
  await Promise.all(
    tilesOf(ranges).map(async ({ level, index }) => {
      const nodes = await read.auditNodes(tenant, level, index * tileWidth, tileWidth)
      known.set(`${level}/${index}`, nodes)
    }),
  )
  const tile = ({ level, index }: Tile): readonly Hash[] => known.get(`${level}/${index}`)!
  return ranges.map((range) => hashOfRange(range, tile))
}
