import {
  ConstraintFailed,
  first,
  run,
  type Refusal,
  type Row,
  type Statement,
  type Steps,
} from './sql.ts'

/** The statements of one table whose rows have a version. */
export interface VersionedTable {
  readonly insert: Statement
  /** As `update`, for a row whose indexed columns stay as they are; it changes nothing else. */
  readonly unmoved?: Statement
  readonly update: Statement
  readonly exists: Statement
  /** Which of the table's other keys is taken, and by whom. */
  readonly clash: (row: Row) => Steps<Refusal | null>
}

/**
 * Writes a row that is new, or that has not changed since it was read.
 * @param expected the version as read; null for a new row
 */
export function* putVersioned(
  table: VersionedTable,
  row: Row,
  expected: number | null,
): Steps<Refusal | null> {
  const id = row['id'] as string
  try {
    if (expected === null) {
      yield* run(table.insert, row)
      return null
    }
    const guarded = { ...row, expected }
    if (table.unmoved && (yield* run(table.unmoved, guarded)).changes === 1) return null
    const updated = yield* run(table.update, guarded)
    if (updated.changes === 1) return null
    const found = yield* first(table.exists, row)
    return { reason: found === null ? 'missing' : 'version', with: id }
  } catch (error) {
    if (!(error instanceof ConstraintFailed)) throw error
    if (error.constraint === 'foreignKey') return { reason: 'missing', with: null }
    // An id that exists is an insert repeated, whatever else it also collides with.
    const found = expected === null ? yield* first(table.exists, row) : null
    if (found !== null) return { reason: 'version', with: id }
    const clash = yield* table.clash(row)
    if (clash === null) throw error
    return clash
  }
}
