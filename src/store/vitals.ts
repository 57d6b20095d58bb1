import { sql, type RawBuilder } from 'kysely'
import {
  openStatuses,
  urgentKinds,
  type OperationKind,
  type OperationStatus,
} from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { statement, type Query, type Sql } from './sql.ts'
import type { Vitals } from './store.ts'

/** No count reads on beyond this many rows: a backlog of that size is an alarm at any length. */
export const vitalsMax = 100_000

const listed = (words: readonly string[]) => sql.raw(words.map((w) => `'${w}'`).join(', '))
/** A change of scopes may as well give as take, and wait for an owner meanwhile. */
const revoking = urgentKinds.filter((kind) => kind !== 'rescope')
const isOpen = sql`status in (${listed(openStatuses)})`

/**
 * How the installation does, in five looks at narrow indexes. Only the open operations are counted
 * one by one, aside and up to a limit; finished ones are counted by the process that finished them.
 */
export function vitalsRoom({ db }: Sql) {
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const most = sql.lit(vitalsMax)
  const s = {
    operations: compiled(
      sql`select kind, status, cast(count(*) as integer) as total
        from (select kind, status from operation where ${isOpen} limit ${most}) as o
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
  }

  return async function vitals(query: Query, now: Instant): Promise<Vitals> {
    const [operations, due, revocation, stuck, unsequenced] = await Promise.all([
      query(s.operations, {}, 'heavy'),
      query(s.oldestDue),
      query(s.oldestRevocation),
      query(s.stuck, {}, 'heavy'),
      query(s.unsequenced, {}, 'heavy'),
    ])
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
      auditUnsequenced: unsequenced[0]!['total'] as number,
      oldestUnsequencedAt: unsequenced[0]!['since'] as Instant | null,
    }
  }
}
