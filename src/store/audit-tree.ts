import { sql } from 'kysely'
import type { SignedCheckpoint } from '../domain/checkpoint.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Hash } from '../domain/merkle.ts'
import { mapping } from './mapping.ts'
import {
  arg,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Row,
  type Sql,
  type Steps,
} from './sql.ts'
import type { AuditHead, Change } from './store.ts'

const checkpoints = mapping<Omit<SignedCheckpoint, 'origin'>>({
  size: 'size',
  root: 'root',
  note: 'note',
  at: 'at',
})

/** The tree over a tenant's audit rows: one head, the nodes of stored levels, what was signed. */
export function auditTreeRoom({ db, dialect }: Sql) {
  const headOf = db.selectFrom('audit_head').selectAll()
  const checkpointOf = db
    .selectFrom('audit_checkpoint')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
  const s = {
    pending: statement(
      db
        .selectFrom('audit')
        .select('tenant')
        .where('seq', 'is', null)
        .where('tenant', '>', arg('after'))
        .orderBy('tenant')
        .limit(1),
    ),
    unsequenced: statement(
      db
        .selectFrom('audit')
        .select(['id', 'leaf'])
        .where('tenant', '=', arg('tenant'))
        .where('seq', 'is', null)
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
    head: statement(headOf.where('tenant', '=', arg('tenant'))),
    heads: statement(headOf.orderBy('tenant')),
    open: statement(
      db
        .insertInto('audit_head')
        .values(gaps(['tenant', 'size', 'frontier', 'signed_size']))
        .onConflict((conflict) => conflict.doNothing()),
    ),
    move: statement(
      db
        .updateTable('audit_head')
        .set({ size: arg<number>('size'), frontier: arg('frontier') })
        .where('tenant', '=', arg('tenant'))
        .where('size', '=', arg<number>('expected')),
    ),
    // One statement for all: 500 trips to a server would hold the head for as long. That the
    // tenant comes with each row makes SQLite look up row by row: told it apart, it read the whole
    // tenant for each, 400 rows/s of 20 000 and the loop held for seconds (2026-11).
    place: statement({
      compile: () =>
        sql`update audit set seq = cast(g.seq as integer)
          from ${dialect.records(sql`${arg('rows')}`, ['tenant', 'id', 'seq'], 'g')}
          where audit.tenant = g.tenant and audit.id = g.id and ${dialect.unindexed(sql.ref('audit.seq'))} is null`.compile(
          db,
        ),
    }),
    insertNode: statement(
      db.insertInto('audit_node').values(gaps(['tenant', 'level', 'place', 'hash'])),
    ),
    leaves: statement(
      db
        .selectFrom('audit')
        .select('leaf as hash')
        .where('tenant', '=', arg('tenant'))
        .where('seq', '>=', arg<number>('place'))
        .where('seq', '<', arg<number>('end'))
        .orderBy('seq'),
    ),
    nodes: statement(
      db
        .selectFrom('audit_node')
        .select('hash')
        .where('tenant', '=', arg('tenant'))
        .where('level', '=', arg<number>('level'))
        .where('place', '>=', arg<number>('place'))
        .where('place', '<', arg<number>('end'))
        .orderBy('place'),
    ),
    sign: statement(
      db
        .insertInto('audit_checkpoint')
        .values(gaps(['tenant', ...checkpoints.columns]))
        .onConflict((conflict) => conflict.doNothing()),
    ),
    signedUpTo: statement(
      db
        .updateTable('audit_head')
        .set({ signed_size: arg<number>('size') })
        .where('tenant', '=', arg('tenant'))
        .where('signed_size', '<', arg<number>('size')),
    ),
    forget: statement(
      db
        .deleteFrom('audit_checkpoint')
        .where('tenant', '=', arg('tenant'))
        .where('at', '<', arg('before'))
        .where('size', '<', arg<number>('size')),
    ),
    newest: statement(checkpointOf.orderBy('size', 'desc').limit(1)),
    covering: statement(
      checkpointOf.where('size', '>=', arg<number>('size')).orderBy('size').limit(1),
    ),
  }
  return {
    sequenced(change: Change & { readonly type: 'auditSequenced' }): () => Steps<Refusal | null> {
      const { tenant, after, ids, frontier } = change
      const rows = JSON.stringify(ids.map((id, i) => ({ tenant, id, seq: String(after.size + i) })))
      const head: Row = { tenant, size: frontier.size, frontier: frontier.nodes.join() }
      const nodes = change.nodes.map(({ level, index, hash }) => ({
        tenant,
        level,
        place: index,
        hash,
      }))
      const lost: Refusal = { reason: 'version', with: null }
      return function* sequenced() {
        // The head first: whoever moves it has the places behind it, and a second one waits or fails.
        const moved =
          after.size === 0
            ? yield* run(s.open, { ...head, signed_size: 0 })
            : yield* run(s.move, { ...head, expected: after.size })
        if (moved.changes !== 1) return lost
        const placed = yield* run(s.place, { rows })
        if (placed.changes !== ids.length) return lost
        for (const node of nodes) yield* run(s.insertNode, node)
        return null
      }
    },

    signed(change: Change & { readonly type: 'auditSigned' }): () => Steps<Refusal | null> {
      const { tenant, before } = change
      const { origin: _origin, ...checkpoint } = change.checkpoint
      const row: Row = { ...checkpoints.toRow(checkpoint), tenant, before }
      return function* signed() {
        yield* run(s.sign, row)
        yield* run(s.signedUpTo, row)
        yield* run(s.forget, row)
        return null
      }
    },

    async pending(query: Query, after: string | null): Promise<TenantId | null> {
      const [row] = await query(s.pending, { after: after ?? '' })
      return row === undefined ? null : (row['tenant'] as TenantId)
    },
    async unsequenced(query: Query, tenant: TenantId, limit: number) {
      const rows = await query(s.unsequenced, { tenant, limit })
      return rows.map((row) => ({ id: row['id'] as string, leaf: row['leaf'] as Hash }))
    },
    async head(query: Query, tenant: TenantId): Promise<AuditHead | null> {
      const [row] = await query(s.head, { tenant })
      return row === undefined ? null : headFrom(row)
    },
    async heads(query: Query): Promise<readonly AuditHead[]> {
      return (await query(s.heads)).map(headFrom)
    },
    async nodes(query: Query, tenant: TenantId, level: number, place: number, limit: number) {
      const rows = await query(level === 0 ? s.leaves : s.nodes, {
        tenant,
        level,
        place,
        end: place + limit,
      })
      return rows.map((row) => row['hash'] as Hash)
    },
    async checkpoint(query: Query, tenant: TenantId, size: number | null) {
      const [row] = await query(size === null ? s.newest : s.covering, { tenant, size })
      if (row === undefined) return null
      const found = checkpoints.fromRow(row)
      return { ...found, origin: found.note.slice(0, found.note.indexOf('\n')) }
    },
  }
}

function headFrom(row: Row): AuditHead {
  const nodes = row['frontier'] as string
  return {
    tenant: row['tenant'] as TenantId,
    frontier: { size: row['size'] as number, nodes: nodes === '' ? [] : nodes.split(',') },
    signedSize: row['signed_size'] as number,
  }
}
