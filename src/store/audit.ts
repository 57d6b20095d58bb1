import { type AuditEntry, type AuditRow, leafHash } from '../domain/audit.ts'
import type { TenantId } from '../domain/ids.ts'
import { json, mapping } from './mapping.ts'
import {
  arg,
  ConstraintFailed,
  gaps,
  run,
  runAll,
  statement,
  type Query,
  type Refusal,
  type Row,
  type Sql,
  type Steps,
} from './sql.ts'
import type { AuditQuery } from './store.ts'

const rows = mapping<AuditRow>({
  tenant: 'tenant',
  id: 'id',
  at: 'at',
  actor: json('actor'),
  action: 'action',
  targetType: 'target_type',
  target: 'target',
  decision: json('decision'),
  operation: 'operation',
  facts: json('facts'),
})

export function auditRoom({ db }: Sql) {
  const columns = [...rows.columns, 'leaf']
  const insert = statement(db.insertInto('audit').values(gaps(columns)))
  const inTenant = db.selectFrom('audit').selectAll().where('tenant', '=', arg('tenant'))
  const one = statement(inTenant.where('id', '=', arg('id')))
  const from = statement(
    inTenant.where('seq', '>=', arg<number>('from')).orderBy('seq').limit(arg<number>('limit')),
  )

  async function entries(query: Query, tenant: TenantId, want: AuditQuery) {
    let select = inTenant
    if (want.target !== undefined) select = select.where('target', '=', arg('target'))
    if (want.operation !== undefined) select = select.where('operation', '=', arg('operation'))
    if (want.action !== undefined) select = select.where('action', '=', arg('action'))
    const [behind, order] = want.newestFirst ? (['<', 'desc'] as const) : (['>', 'asc'] as const)
    if (want.after !== null) select = select.where('id', behind, arg('after'))
    const found = await query(statement(select.orderBy('id', order).limit(arg<number>('limit'))), {
      tenant,
      target: want.target ?? null,
      operation: want.operation ?? null,
      action: want.action ?? null,
      after: want.after,
      limit: want.limit,
    })
    return found.map(entryOf)
  }

  return {
    /** Hashes now, outside the transaction. */
    append(row: AuditRow): () => Steps<Refusal | null> {
      const args: Row = { ...rows.toRow(row), leaf: leafHash(row) }
      return function* append() {
        try {
          yield* run(insert, args)
          return null
        } catch (error) {
          if (error instanceof ConstraintFailed) return { reason: 'version', with: row.id }
          throw error
        }
      }
    },

    /** As `append`, of many. @returns the place of the first refused one with why */
    appendAll(list: readonly AuditRow[]): () => Steps<readonly [number, Refusal] | null> {
      const all = list.map((row): Row => ({ ...rows.toRow(row), leaf: leafHash(row) }))
      return function* appendAll() {
        const outcomes = yield* runAll(insert, all)
        const refused = outcomes.findIndex((outcome) => outcome instanceof ConstraintFailed)
        return refused < 0 ? null : [refused, { reason: 'version', with: list[refused]!.id }]
      }
    },

    entries,
    async list(query: Query, tenant: TenantId, want: AuditQuery): Promise<readonly AuditRow[]> {
      return (await entries(query, tenant, want)).map(({ row }) => row)
    },
    async from(query: Query, tenant: TenantId, place: number, limit: number) {
      return (await query(from, { tenant, from: place, limit })).map(entryOf)
    },
    async entry(query: Query, tenant: TenantId, id: string): Promise<AuditEntry | null> {
      const [found] = await query(one, { tenant, id })
      return found === undefined ? null : entryOf(found)
    },
  }
}

/** A row of the table, with all its columns. */
export function entryOf(row: Row): AuditEntry {
  return {
    seq: row['seq'] as number | null,
    leaf: row['leaf'] as string,
    row: readable(row),
  }
}

/**
 * A row whose JSON was spoilt is shown as such: its leaf tells, and whoever reads or verifies the log
 * gets past it.
 */
function readable(row: Row): AuditRow {
  try {
    return rows.fromRow(row)
  } catch {
    const spoilt = ['actor', 'decision', 'facts'].filter((column) => !isJson(row[column]))
    const marked = spoilt.map((column) => [column, JSON.stringify({ unreadable: row[column] })])
    return rows.fromRow({ ...row, ...(Object.fromEntries(marked) as Row) })
  }
}

function isJson(value: unknown): boolean {
  if (value === null) return true
  try {
    JSON.parse(value as string)
    return true
  } catch {
    return false
  }
}
