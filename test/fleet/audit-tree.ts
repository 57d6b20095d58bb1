import { leafHash } from '../../src/domain/audit.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { emptyFrontier, grow, rootOf } from '../../src/domain/merkle.ts'
import type { Store } from '../../src/store/store.ts'

const page = 1_000

/**
 * Recomputes the audit tree from its rows: every leaf, every place and the root.
 * @returns what is wrong with it; null when nothing is
 */
export async function treeFault(store: Store): Promise<string | null> {
  let tree = emptyFrontier
  for (;;) {
    const entries = await store.read.auditFrom(defaultTenant, tree.size, page)
    for (const [i, { seq, leaf, row }] of entries.entries()) {
      if (seq !== tree.size + i) return `place ${tree.size + i} is taken by ${seq}`
      if (leaf !== leafHash(row)) return `the leaf at ${seq} is not the hash of its row`
    }
    tree = grow(
      tree,
      entries.map(({ leaf }) => leaf),
    ).frontier
    if (entries.length < page) break
  }
  const head = await store.read.auditHead(defaultTenant)
  if (head === null || tree.size === 0) return 'there is no audit log'
  if (head.frontier.size !== tree.size) {
    return `the head says ${head.frontier.size} rows, and there are ${tree.size}`
  }
  const signed = await store.read.checkpoint(defaultTenant, null)
  if (signed?.size !== tree.size) return `${signed?.size ?? 0} of ${tree.size} rows are signed`
  return signed.root === rootOf(tree) && rootOf(head.frontier) === signed.root
    ? null
    : 'the rows do not lead to the signed root'
}
