import { createHash } from 'node:crypto'
import type { AuditRow } from '../domain/audit.ts'
import type { TenantId } from '../domain/ids.ts'
import { isJsonObject, type Json, type JsonObject } from '../domain/json.ts'
import { json, mapping } from './mapping.ts'
import {
  arg,
  ConstraintFailed,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Row,
  type Sql,
  type Steps,
} from './sql.ts'

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

/** JSON with sorted keys and no spaces (RFC 8785): equal rows give equal bytes everywhere. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map((item: Json) => canonicalJson(item)).join(',')}]`
  if (!isJsonObject(value)) return JSON.stringify(value)
  const members = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key]!)}`)
  return `{${members.join(',')}}`
}

/** The Merkle leaf of one row in hex: SHA-256 over 0x00 and its canonical JSON (RFC 6962 §2.1). */
export function leafHash(row: AuditRow): string {
  return createHash('sha256')
    .update(Uint8Array.of(0))
    .update(canonicalJson(row as unknown as JsonObject))
    .digest('hex')
}

export interface AuditQuery {
  readonly target?: string
  readonly operation?: string
  readonly after: string | null
  readonly limit: number
}

export function auditRoom({ db }: Sql) {
  const columns = [...rows.columns, 'leaf']
  const insert = statement(db.insertInto('audit').values(gaps(columns)))

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

    async list(query: Query, tenant: TenantId, want: AuditQuery): Promise<readonly AuditRow[]> {
      let select = db.selectFrom('audit').selectAll().where('tenant', '=', arg('tenant'))
      if (want.target !== undefined) select = select.where('target', '=', arg('target'))
      if (want.operation !== undefined) select = select.where('operation', '=', arg('operation'))
      if (want.after !== null) select = select.where('id', '>', arg('after'))
      const found = await query(statement(select.orderBy('id').limit(arg<number>('limit'))), {
        tenant,
        target: want.target ?? null,
        operation: want.operation ?? null,
        after: want.after,
        limit: want.limit,
      })
      return found.map((row) => rows.fromRow(row))
    },
  }
}
