import { sql } from 'kysely'
import type { FailedRequest } from '../domain/failed-request.ts'
import type { ClientId, TenantId } from '../domain/ids.ts'
import type { FailedRequestChange, FailedRequestQuery } from './failed-request-store.ts'
import { mapping } from './mapping.ts'
import {
  arg,
  first,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Sql,
  type Steps,
} from './sql.ts'

type Work = () => Steps<Refusal | null>
type Of<T extends FailedRequestChange['type']> = Extract<FailedRequestChange, { type: T }>

const failures = mapping<FailedRequest>({
  tenant: 'tenant',
  id: 'id',
  client: 'client',
  fingerprint: 'fingerprint',
  method: 'method',
  route: 'route',
  target: 'target',
  firstAt: 'first_at',
  lastAt: 'last_at',
  times: 'times',
  status: 'status',
  error: 'error',
  scimType: 'scim_type',
  obstacle: 'obstacle',
  state: 'state',
  decidedAt: 'decided_at',
  decidedBy: 'decided_by',
  note: 'note',
})

/** Writes to SCIM that failed, until somebody has dealt with them. */
export function failedRequestRoom({ db }: Sql) {
  const all = db.selectFrom('failed_request').selectAll().where('tenant', '=', arg('tenant'))
  const open = all
    .where('client', '=', arg('client'))
    .where('fingerprint', '=', arg('fingerprint'))
    .where('state', '=', 'open')
  const s = {
    one: statement(all.where('id', '=', arg('id'))),
    open: statement(open),
    insert: statement(db.insertInto('failed_request').values(gaps(failures.columns))),
    again: statement(
      db
        .updateTable('failed_request')
        .set({ times: sql<number>`times + 1`, last_at: arg('last_at'), status: arg('status') })
        .set({ error: arg('error'), scim_type: arg('scim_type') })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    settle: statement(
      db
        .updateTable('failed_request')
        .set({ state: 'settled', decided_at: arg('at') })
        .where('tenant', '=', arg('tenant'))
        .where('client', '=', arg('client'))
        .where('fingerprint', '=', arg('fingerprint'))
        .where('state', '=', 'open'),
    ),
    decide: statement(
      db
        .updateTable('failed_request')
        .set({
          state: arg('state'),
          decided_at: arg('at'),
          decided_by: arg('by'),
          note: arg('note'),
        })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    forget: statement(db.deleteFrom('failed_request').where('last_at', '<', arg('before'))),
    list: statement(
      all
        .where('state', '=', arg('state'))
        .where('id', '>', arg('after'))
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
    count: statement(
      db
        .selectFrom(
          db
            .selectFrom('failed_request')
            .select('id')
            .where('tenant', '=', arg('tenant'))
            .where('client', '=', arg('client'))
            .where('state', '=', 'open')
            .limit(1_001)
            .as('open'),
        )
        .select(sql<number>`cast(count(*) as integer)`.as('total')),
    ),
    listOf: statement(
      all
        .where('state', '=', arg('state'))
        .where('client', '=', arg('client'))
        .where('id', '>', arg('after'))
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
  }

  return {
    failed({ failure, before }: Of<'requestFailed'>): Work {
      const row = failures.toRow(failure)
      return function* failed() {
        yield* run(s.forget, { before })
        const known = yield* first(s.open, row)
        yield* known === null
          ? run(s.insert, row)
          : run(s.again, { ...row, id: known['id'] as string })
        return null
      }
    },
    settled({ type: _type, ...args }: Of<'requestSettled'>): Work {
      return function* settled() {
        yield* run(s.settle, args)
        return null
      }
    },
    decided({ type: _type, ...args }: Of<'failureDecided'>): Work {
      return function* decided() {
        const row = yield* first(s.one, args)
        if (row?.['state'] !== 'open') return { reason: 'version', with: null }
        yield* run(s.decide, args)
        return null
      }
    },
    async one(query: Query, tenant: TenantId, id: string) {
      const [row] = await query(s.one, { tenant, id })
      return row ? failures.fromRow(row) : null
    },
    async count(query: Query, tenant: TenantId, client: ClientId) {
      const [row] = await query(s.count, { tenant, client })
      return Number(row!['total'])
    },
    async open(query: Query, tenant: TenantId, client: ClientId, fingerprint: string) {
      const [row] = await query(s.open, { tenant, client, fingerprint })
      return row ? failures.fromRow(row) : null
    },
    async list(query: Query, { tenant, state, client, after, limit }: FailedRequestQuery) {
      const args = { tenant, state, after: after ?? '', limit }
      const found = await (client === undefined
        ? query(s.list, args)
        : query(s.listOf, { ...args, client }))
      return found.map((row) => failures.fromRow(row))
    },
  }
}
