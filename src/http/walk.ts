import { setImmediate as turn } from 'node:timers/promises'
import { pageOf } from './fields.ts'

/** Rows that one request looks at for those the caller may see; the cursor says where to go on. */
const looksMax = 2_000
/** Rows read at once, however few are asked for. */
const readsMin = 50

/**
 * Walks a keyset of rows until a page of visible ones is full; it may end before, with a cursor, when
 * it has looked at very many. Others have their turn after each page: SQLite answers at once, and
 * 20 000 rows of somebody else's stopped the process for 1.2 s.
 * @throws invalidValue, invalidCursor
 */
export async function walk<T extends { readonly id: string }, V>(
  query: unknown,
  read: (after: string | null, limit: number) => Promise<readonly T[]>,
  show: (row: T) => Promise<V | null>,
): Promise<{ readonly items: readonly V[]; readonly cursor: string | null }> {
  const { after, limit } = pageOf(query)
  const atOnce = Math.max(limit, readsMin)
  const items: V[] = []
  let cursor = after
  for (let looked = 0; looked < looksMax;) {
    const rows = await read(cursor, atOnce)
    looked += rows.length
    for (const row of rows) {
      cursor = row.id
      const view = await show(row)
      if (view !== null) items.push(view)
      if (items.length === limit) return { items, cursor }
    }
    if (rows.length < atOnce) return { items, cursor: null }
    await turn()
  }
  return { items, cursor }
}
