import { sql, type RawBuilder } from 'kysely'
import {
  openStatuses,
  urgentKinds,
  type OperationKind,
  type OperationStatus,
} from '../domain/operation.ts'
import { addSeconds, type Instant } from '../domain/time.ts'
import { arg, statement, type Query, type Sql } from './sql.ts'
import type { Vitals } from './store.ts'

/** No count reads on beyond this many rows: a backlog of that size is an alarm at any length. */
export const vitalsMax = 100_000

const listed = (words: readonly string[]) => sql.raw(words.map((w) => `'${w}'`).join(', '))
/** A change of scopes may as well give as take, and wait for an owner meanwhile. */
const revoking = urgentKinds.filter((kind) => kind !== 'rescope')
const isOpen = sql`status in (${listed(openStatuses)})`

/** What is late by less than this is on its way: sweeps and steps have their own pace. */
export const lateSeconds = 3_600
/** Each tenant has clients; their table is small, and what is counted is indexed by tenant. */
const tenants = sql`select tenant from client`

/**
 * How the installation does, in a few looks at narrow indexes. Only the open operations are counted
 * one by one, aside and up to a limit; finished ones are counted by the process that finished them.
 */
export function vitalsRoom({ db }: Sql) {
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const most = sql.lit(vitalsMax)
  const s = {
    operations: compiled(
      sql`select kind, status, cast(count(*) as integer) as total,
          cast(sum(case when failing = 1 and status in ('queued', 'waiting')
            and created_at < ${arg('late')} then 1 else 0 end) as integer) as failing,
          cast(sum(case when status = 'running' and due_at < ${arg('now')}
            then 1 else 0 end) as integer) as lapsed
        from (select kind, status, created_at, due_at,
            case when failure is null then 0 else 1 end as failing
          from operation where ${isOpen} limit ${most}) as o
        group by kind, status order by kind, status`,
    ),
    oldestDue: compiled(
      sql`select due_at from operation where due_at is not null order by due_at, id limit 1`,
    ),
    oldestRevocation: compiled(
      sql`select created_at from operation where kind in (${listed(revoking)}) and ${isOpen}
        order by created_at limit 1`,
    ),
    stuck: compiled(
      sql`select cast(count(*) as integer) as total
        from (select 1 from operation where status = 'needsOperator' limit ${most}) as o`,
    ),
    unsequenced: compiled(
      sql`select cast(count(*) as integer) as total, min(at) as since
        from (select at from audit where seq is null limit ${most}) as a`,
    ),
    orphaned: compiled(
      sql`select cast(count(*) as integer) as total
        from (select 1 from resource where tenant in (${tenants}) and status = 'orphaned'
          limit ${most}) as r`,
    ),
    overdue: compiled(
      sql`select cast(count(*) as integer) as total, min(rotate_after) as since
        from (select rotate_after from credential where status = 'active'
          and rotate_after is not null and rotate_after < ${arg('late')} limit ${most}) as c`,
    ),
    approvals: compiled(
      sql`select cast(count(*) as integer) as total
        from (select 1 from approval where tenant in (${tenants}) and status = 'waiting'
          limit ${most}) as a`,
    ),
    oldestKey: compiled(
      sql`select issued_at from issued_key where provider = ${arg('provider')}
        and status = 'active' order by issued_at limit 1`,
    ),
  }

  const oldestKeys = async (query: Query, providers: readonly string[]) => {
    const found = await Promise.all(
      providers.map(async (provider) => {
        const [row] = await query(s.oldestKey, { provider })
        return row === undefined ? [] : [{ provider, issuedAt: row['issued_at'] as Instant }]
      }),
    )
    return found.flat()
  }

  return async function vitals(
    query: Query,
    now: Instant,
    providers: readonly string[] = [],
  ): Promise<Vitals> {
    const late = addSeconds(now, -lateSeconds)
    const [orphaned, overdue, approvals, keys] = await Promise.all([
      query(s.orphaned, {}, 'heavy'),
      query(s.overdue, { late }, 'heavy'),
      query(s.approvals, {}, 'heavy'),
      oldestKeys(query, providers),
    ])
    const [operations, due, revocation, stuck, unsequenced] = await Promise.all([
      query(s.operations, { now, late }, 'heavy'),
      query(s.oldestDue),
      query(s.oldestRevocation),
      query(s.stuck, {}, 'heavy'),
      query(s.unsequenced, {}, 'heavy'),
    ])
    const sumOf = (column: string): number =>
      operations.reduce((sum, row) => sum + Number(row[column]), 0)
    const dueAt = due[0]?.['due_at'] as Instant | undefined
    return {
      operations: operations.map((row) => ({
        kind: row['kind'] as OperationKind,
        status: row['status'] as OperationStatus,
        count: row['total'] as number,
      })),
      // A lease that still runs lies ahead.
      oldestDueAt: dueAt !== undefined && dueAt <= now ? dueAt : null,
      oldestRevocationAt: (revocation[0]?.['created_at'] as Instant | undefined) ?? null,
      needsOperator: stuck[0]!['total'] as number,
      failing: sumOf('failing'),
      lapsed: sumOf('lapsed'),
      orphaned: orphaned[0]!['total'] as number,
      overdueRotations: overdue[0]!['total'] as number,
      oldestOverdueAt: (overdue[0]!['since'] as Instant | null | undefined) ?? null,
      approvalsWaiting: approvals[0]!['total'] as number,
      oldestKeys: keys,
      auditUnsequenced: unsequenced[0]!['total'] as number,
      oldestUnsequencedAt: unsequenced[0]!['since'] as Instant | null,
    }
  }
}
