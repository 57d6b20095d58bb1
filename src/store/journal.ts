import { sql, type ExpressionBuilder } from 'kysely'
import type { AccountId, OperationId, TenantId } from '../domain/ids.ts'
import { operationRank, openStatuses, urgentKinds, type Operation } from '../domain/operation.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'
import { type Advance, advanceRow, advancing } from './advances.ts'
import { json, mapping } from './mapping.ts'
import {
  arg,
  ConstraintFailed,
  first,
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
import type { OperationQuery } from './store.ts'
import type { Tables } from './tables.ts'

const operations = mapping<Operation>({
  tenant: 'tenant',
  id: 'id',
  kind: 'kind',
  subjectType: 'subject_type',
  subject: 'subject',
  account: 'account',
  provider: 'provider',
  steps: json('steps'),
  cursor: 'cursor',
  attempt: 'attempt',
  status: 'status',
  runAt: 'run_at',
  leaseWorker: 'lease_worker',
  leaseUntil: 'lease_until',
  fence: 'fence',
  memo: json('memo'),
  actor: json('actor'),
  cause: 'cause',
  failure: json('failure'),
  createdAt: 'created_at',
  updatedAt: 'updated_at',
  finishedAt: 'finished_at',
})
const columns = [...operations.columns, 'rank', 'due_at']

function toRow(operation: Operation): Row {
  return {
    ...operations.toRow(operation),
    rank: operationRank[operation.kind],
    due_at: dueAt(operation),
  }
}

function dueAt(operation: Operation): Instant | null {
  switch (operation.status) {
    case 'queued':
    case 'waiting':
      return operation.runAt
    case 'running':
      return operation.leaseUntil ?? operation.runAt
    default:
      return null
  }
}

/** Spelt as in the partial indexes: with parameters in its place no index would be considered. */
const isOpen = sql<boolean>`status in (${sql.raw(openStatuses.map((s) => `'${s}'`).join(', '))})`
const isOpenOf = (alias: string) =>
  sql<boolean>`${sql.ref(`${alias}.status`)} in (${sql.raw(openStatuses.map((s) => `'${s}'`).join(', '))})`
const isUrgent = sql<boolean>`kind in (${sql.raw(urgentKinds.map((k) => `'${k}'`).join(', '))})`
const isUrgentOf = (alias: string) =>
  sql<boolean>`${sql.ref(`${alias}.kind`)} in (${sql.raw(urgentKinds.map((k) => `'${k}'`).join(', '))})`

function statements({ db, dialect }: Sql) {
  const one = db.selectFrom('operation').selectAll()
  const cancelled = db.updateTable('operation').set({
    status: 'cancelled',
    failure: arg('failure'),
    fence: sql<number>`fence + 1`,
    due_at: null,
    updated_at: arg('at'),
    finished_at: arg('at'),
  })

  /** Another operation of the same account is at work, or comes before this one. */
  const blocked = (
    eb: ExpressionBuilder<Tables & { o: Tables['operation'] }, 'o'>,
    urgent: boolean,
  ) => {
    const sibling = eb
      .selectFrom('operation as r')
      .select('r.id')
      .whereRef('r.tenant', '=', 'o.tenant')
      .whereRef('r.account', '=', 'o.account')
      .whereRef('r.id', '<>', 'o.id')
      .where(isOpenOf('r'))
    const dueBefore = sql<boolean>`(r.due_at, r.id) < (o.due_at, o.id)`
    return eb.or([
      eb.exists(sibling.where('r.status', '=', 'running').where('r.due_at', '>', arg('now'))),
      eb.exists(
        sibling
          .where('r.due_at', '<=', arg('now'))
          .where(
            urgent
              ? sql<boolean>`${isUrgentOf('r')} and ${dueBefore}`
              : sql<boolean>`(${isUrgentOf('r')} or ${dueBefore})`,
          ),
      ),
    ])
  }

  const given = dialect.json.elements(dialect.json.document(sql`${arg('except')}`), [], 'e')
  const excepted = sql`select ${given.plain('text')} from ${given.from}`
  const principal = sql`select 1 from principal as p
    where p.tenant = o.tenant and p.account = o.account`
  // What concerns an account as a whole is left out when it could do nothing but wait.
  const elsewhere = sql<boolean>`case when o.provider is not null then o.provider not in (${excepted})
    else not exists (${principal} and p.provider in (${excepted}))
      or exists (${principal} and p.provider not in (${excepted})) end`

  const claim = (urgent: boolean, isElsewhere: boolean) => {
    const due = db
      .selectFrom('operation as o')
      .select('o.id')
      .where('o.due_at', '<=', arg('now'))
      .where(urgent ? isUrgentOf('o') : sql<boolean>`not (${isUrgentOf('o')})`)
      .where((eb) => eb.not(blocked(eb, urgent)))
      .$if(isElsewhere, (query) => query.where(elsewhere))
      .orderBy('o.due_at')
      .orderBy('o.id')
      .limit(arg<number>('limit'))
    return statement(
      db
        .updateTable('operation')
        .set({
          status: 'running',
          fence: sql<number>`fence + 1`,
          lease_worker: arg('worker'),
          lease_until: arg('until'),
          due_at: arg('until'),
          updated_at: arg('now'),
        })
        .where((eb) =>
          // An array is read once. What is joined may be read again for each row, and what is locked
          // meanwhile skipped: the limit would then hold for each reading, and far more be claimed.
          dialect.skipLocked
            ? sql<boolean>`id = any(array(${due.forUpdate().skipLocked()}))`
            : eb('id', 'in', due),
        )
        .returningAll(),
    )
  }

  // In order, or PostgreSQL reads the table from its start, past all that is done, to find any one:
  // 4 ms with 10 000 of them.
  const dueNow = db
    .selectFrom('operation')
    .select('id')
    .where('due_at', '<=', arg('now'))
    .orderBy('due_at')
    .orderBy('id')
    .limit(1)

  const idle = db
    .selectFrom('operation as o')
    .select('o.due_at')
    .where('o.due_at', 'is not', null)
    .where((eb) =>
      eb.or([
        eb('o.status', '=', 'running'),
        eb.not(
          eb.exists(
            eb
              .selectFrom('operation as r')
              .select('r.id')
              .whereRef('r.tenant', '=', 'o.tenant')
              .whereRef('r.account', '=', 'o.account')
              .where(isOpenOf('r'))
              .where('r.status', '=', 'running'),
          ),
        ),
      ]),
    )
    .orderBy('o.due_at')
    .orderBy('o.id')
    .limit(1)

  return {
    insert: statement(db.insertInto('operation').values(gaps(columns))),
    advance: advancing(db),
    byId: statement(one.where('id', '=', arg('id'))),
    get: statement(one.where('tenant', '=', arg('tenant')).where('id', '=', arg('id'))),
    preemptSubject: statement(
      cancelled
        .where('tenant', '=', arg('tenant'))
        .where('subject', '=', arg('subject'))
        .where(isOpen)
        .where('rank', '<=', arg<number>('rank')),
    ),
    preemptAccount: statement(
      cancelled
        .where('tenant', '=', arg('tenant'))
        .where('account', '=', arg('subject'))
        .where(isOpen)
        .where('rank', '<=', arg<number>('rank')),
    ),
    openOnSubject: statement(
      db
        .selectFrom('operation')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('subject', '=', arg('subject'))
        .where(isOpen),
    ),
    higherOnAccount: statement(
      db
        .selectFrom('operation')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('subject', '=', arg('account'))
        .where('subject_type', '=', 'account')
        .where(isOpen)
        .where('rank', '>', arg<number>('rank')),
    ),
    claimUrgent: claim(true, false),
    claimOther: claim(false, false),
    claimUrgentElsewhere: claim(true, true),
    claimOtherElsewhere: claim(false, true),
    urgentDue: statement(dueNow.where(isUrgent)),
    otherDue: statement(dueNow.where(sql<boolean>`not (${isUrgent})`)),
    heartbeat: statement(
      db
        .updateTable('operation')
        .set({ lease_until: arg('until'), due_at: arg('until') })
        .where('id', '=', arg('id'))
        .where('fence', '=', arg<number>('fence'))
        .where('status', '=', 'running'),
    ),
    // Written, so that nobody else can take the operation over before this commit is through.
    claimed: statement(
      db
        .updateTable('operation')
        .set({ fence: sql<number>`fence` })
        .where('id', '=', arg('id'))
        .where('fence', '=', arg<number>('fence'))
        .where('status', '=', 'running'),
    ),
    leaseHolders: statement(
      db
        .selectFrom('operation')
        .select('lease_worker')
        .distinct()
        .where('status', '=', 'running')
        .where('lease_worker', 'is not', null),
    ),
    releaseLeases: statement(
      db
        .updateTable('operation')
        .set({ lease_until: arg('at'), due_at: arg('at') })
        .where('lease_worker', '=', arg('worker'))
        .where('status', '=', 'running'),
    ),
    letGo: statement(
      db
        .updateTable('operation')
        .set({ lease_until: arg('at') })
        .where('id', '=', arg('id'))
        .where('lease_worker', '=', arg('worker'))
        .where(sql<boolean>`status = 'cancelled'`),
    ),
    openOfAccount: statement(
      one
        .where('tenant', '=', arg('tenant'))
        .where('account', '=', arg('account'))
        .where(isOpen)
        .orderBy('id'),
    ),
    inFlight: statement(
      db
        .selectFrom('operation')
        .select((eb) => eb.fn.max('lease_until').as('until'))
        .where('tenant', '=', arg('tenant'))
        .where('account', '=', arg('account'))
        .where(sql<boolean>`status = 'cancelled'`)
        .where('lease_until', '>', arg('now')),
    ),
    idle: statement(idle),
  }
}

/** The operations: enqueued, claimed, advanced under their fence, pre-empted; never deleted. */
export function journalRoom(context: Sql) {
  const { db } = context
  const s = statements(context)

  function* busy(operation: Operation): Steps<Refusal | null> {
    const open = yield* first(s.openOnSubject, toRow(operation))
    if (open !== null) return { reason: 'busy', with: open['id'] as string }
    if (operation.subjectType !== 'credential' || operation.account === null) return null
    const above = yield* first(s.higherOnAccount, toRow(operation))
    return above === null ? null : { reason: 'busy', with: above['id'] as string }
  }

  function* notAdvanced({ id }: Advance): Steps<Refusal> {
    const stored = yield* first(s.byId, { id })
    return { reason: stored === null ? 'missing' : 'fence', with: id }
  }

  /** Only an operation that is opened again can meet another open one. */
  function* notOpenedAgain({ id }: Advance): Steps<Refusal> {
    const stored = yield* first(s.byId, { id })
    const open = stored && (yield* first(s.openOnSubject, stored))
    return { reason: 'busy', with: (open?.['id'] as string | undefined) ?? null }
  }

  return {
    enqueue(operation: Operation, preempt: boolean): () => Steps<Refusal | null> {
      const row = toRow(operation)
      const cancel: Row = {
        ...row,
        at: operation.createdAt,
        failure: JSON.stringify({
          code: 'preempted',
          message: `Operation ${operation.id} (${operation.kind}) took precedence; nothing is to be done.`,
        }),
      }
      return function* enqueue() {
        if (preempt) {
          // What runs on an account itself is among what runs below it.
          const whole =
            operation.subjectType === 'account' && operation.account === operation.subject
          yield* run(whole ? s.preemptAccount : s.preemptSubject, cancel)
          if (operation.subjectType === 'account' && !whole) yield* run(s.preemptAccount, cancel)
        }
        const refusal = yield* busy(operation)
        if (refusal !== null) return refusal
        try {
          yield* run(s.insert, row)
          return null
        } catch (error) {
          if (!(error instanceof ConstraintFailed)) throw error
          const open = yield* first(s.openOnSubject, row)
          return open === null
            ? { reason: 'version', with: operation.id }
            : { reason: 'busy', with: open['id'] as string }
        }
      }
    },

    advance(change: Advance): () => Steps<Refusal | null> {
      const row = advanceRow(change)
      return function* advance() {
        try {
          const saved = yield* run(s.advance, row)
          return saved.changes === 1 ? null : yield* notAdvanced(change)
        } catch (error) {
          if (!(error instanceof ConstraintFailed)) throw error
          return yield* notOpenedAgain(change)
        }
      }
    },

    /** As `advance`, of different operations. @returns the place of the first refused one with why */
    advanceAll(changes: readonly Advance[]): () => Steps<readonly [number, Refusal] | null> {
      const rows = changes.map(advanceRow)
      return function* advanceAll() {
        for (const [i, outcome] of (yield* runAll(s.advance, rows)).entries()) {
          const change = changes[i]!
          if (outcome instanceof ConstraintFailed) return [i, yield* notOpenedAgain(change)]
          if (outcome.changes !== 1) return [i, yield* notAdvanced(change)]
        }
        return null
      }
    },

    *claim(
      worker: string,
      now: Instant,
      lease: Seconds,
      limit: number,
      others: number,
      except: readonly string[] = [],
    ): Steps<readonly Operation[]> {
      const until = addSeconds(now, lease)
      const claim = { worker, now, until, except: JSON.stringify(except) }
      const isElsewhere = except.length > 0
      const claimUrgent = isElsewhere ? s.claimUrgentElsewhere : s.claimUrgent
      const claimOther = isElsewhere ? s.claimOtherElsewhere : s.claimOther
      const inOrder = (rows: readonly Row[]) =>
        rows
          .map((row) => operations.fromRow(row))
          .sort((a, b) =>
            a.runAt === b.runAt ? (a.id < b.id ? -1 : 1) : a.runAt < b.runAt ? -1 : 1,
          )
      // Most claims find nothing: to see that takes a tenth of what the update takes to find out.
      const first =
        (yield* run(s.urgentDue, { now })).rows.length > 0
          ? inOrder((yield* run(claimUrgent, { ...claim, limit })).rows)
          : []
      const left = Math.min(others, limit - first.length)
      if (left <= 0 || (yield* run(s.otherDue, { now })).rows.length === 0) return first
      const then = yield* run(claimOther, { ...claim, limit: left })
      return [...first, ...inOrder(then.rows)]
    },

    claimed(id: string, fence: number): () => Steps<Refusal | null> {
      return function* claimed() {
        const { changes } = yield* run(s.claimed, { id, fence })
        return changes === 1 ? null : { reason: 'fence', with: id }
      }
    },

    *heartbeat(id: OperationId, fence: number, until: Instant): Steps<boolean> {
      return (yield* run(s.heartbeat, { id, fence, until })).changes === 1
    },

    *releaseLeases(worker: string, at: Instant): Steps<number> {
      return (yield* run(s.releaseLeases, { worker, at })).changes
    },

    *letGo(id: OperationId, worker: string, at: Instant): Steps<void> {
      yield* run(s.letGo, { id, worker, at })
    },

    async leaseHolders(query: Query): Promise<readonly string[]> {
      const rows = await query(s.leaseHolders, {})
      return rows.map((row) => row['lease_worker'] as string)
    },

    async get(query: Query, tenant: TenantId, id: string): Promise<Operation | null> {
      const [row] = await query(s.get, { tenant, id })
      return row === undefined ? null : operations.fromRow(row)
    },

    async list(query: Query, want: OperationQuery): Promise<readonly Operation[]> {
      let select = db.selectFrom('operation').selectAll().where('tenant', '=', arg('tenant'))
      for (const key of ['subject', 'account', 'cause', 'status', 'kind'] as const) {
        if (want[key] !== undefined) select = select.where(key, '=', arg(key))
      }
      // What did not succeed is the smaller part, and indexed by its status.
      if (want.status !== undefined && want.status !== 'succeeded') {
        select = select.where('status', '<>', sql.lit('succeeded'))
      }
      if (want.after !== null) select = select.where('id', '<', arg('after'))
      const found = await query(
        statement(select.orderBy('id', 'desc').limit(arg<number>('limit'))),
        {
          tenant: want.tenant,
          subject: want.subject ?? null,
          account: want.account ?? null,
          cause: want.cause ?? null,
          status: want.status ?? null,
          kind: want.kind ?? null,
          after: want.after,
          limit: want.limit,
        },
      )
      return found.map((row) => operations.fromRow(row))
    },

    async openOf(query: Query, tenant: TenantId, account: AccountId) {
      const found = await query(s.openOfAccount, { tenant, account })
      return found.map((row) => operations.fromRow(row))
    },

    async inFlightUntil(query: Query, tenant: TenantId, account: AccountId, now: Instant) {
      const [row] = await query(s.inFlight, { tenant, account, now })
      return (row?.['until'] ?? null) as Instant | null
    },

    async nextRunAt(query: Query): Promise<Instant | null> {
      const [row] = await query(s.idle)
      return (row?.['due_at'] ?? null) as Instant | null
    },
  }
}
