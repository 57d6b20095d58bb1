import { sql } from 'kysely'
import { arg, statement, type Row, type Sql, type SqlValue, type Statement } from './sql.ts'
import type { Change } from './store.ts'

export type Advance = Extract<Change, { type: 'advance' }>

/** The values of one, for the statement below. */
export function advanceRow({ id, fence, set, release, at }: Advance): Row {
  const written = <T>(value: T | undefined, text: (value: T) => SqlValue): SqlValue =>
    value === undefined ? null : text(value)
  return {
    id,
    fence,
    at,
    release: Number(release),
    cursor: set.cursor ?? null,
    attempt: set.attempt ?? null,
    status: set.status ?? null,
    run_at: set.runAt ?? null,
    memo: written(set.memo, JSON.stringify),
    sets_failure: Number(set.failure !== undefined),
    failure: set.failure ? JSON.stringify(set.failure) : null,
    sets_finished: Number(set.finishedAt !== undefined),
    finished_at: set.finishedAt ?? null,
  }
}

/**
 * One statement that reads nothing first and sets what may have moved only: SQLite writes anew each
 * index of which a column is set. A cancel is an operator's pre-emption: the worker that still runs
 * the operation must notice, so its fence moves.
 */
export function advancing(db: Sql['db']): Statement {
  const kept = <T>(column: string) => sql<T>`coalesce(${arg(column)}, ${sql.ref(column)})`
  const given = (flag: string, column: string) =>
    sql<string | null>`case when ${arg(flag)} = 1 then ${arg(column)} else ${sql.ref(column)} end`
  const leased = (column: string) =>
    sql<string | null>`case when ${arg('release')} = 1 then null else ${sql.ref(column)} end`
  const runAt = kept<string>('run_at')
  return statement(
    db
      .updateTable('operation')
      .set({
        cursor: kept<number>('cursor'),
        attempt: kept<number>('attempt'),
        status: kept<string>('status'),
        run_at: runAt,
        due_at: sql<string | null>`case ${kept('status')} when 'queued' then ${runAt}
          when 'waiting' then ${runAt}
          when 'running' then coalesce(${leased('lease_until')}, ${runAt}) end`,
        lease_worker: leased('lease_worker'),
        lease_until: leased('lease_until'),
        memo: kept<string>('memo'),
        failure: given('sets_failure', 'failure'),
        finished_at: given('sets_finished', 'finished_at'),
        fence: sql<number>`fence
          + case when ${arg('status')} = 'cancelled' and status <> 'cancelled' then 1 else 0 end`,
        updated_at: arg('at'),
      })
      .where('id', '=', arg('id'))
      .where('fence', '=', arg<number>('fence')),
  )
}
