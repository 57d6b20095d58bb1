import { sql } from 'kysely'
import type {
  Approval,
  ApprovalItem,
  ApprovalStatus,
  LeaveCounts,
  PlannedAct,
} from '../domain/approval.ts'
import { approvalItemsMax } from '../domain/approval.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import { json, mapping } from './mapping.ts'
import {
  arg,
  ConstraintFailed,
  first,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Row,
  type Sql,
  type Steps,
} from './sql.ts'
import type { HoldChange } from './holds.ts'

type Work = () => Steps<Refusal | null>

const approvals = mapping<Approval>({
  tenant: 'tenant',
  id: 'id',
  kind: 'kind',
  subject: 'subject',
  status: 'status',
  joined: 'joined',
  hash: 'hash',
  policyVersion: 'policy_version',
  plan: json('plan'),
  facts: json('facts'),
  createdAt: 'created_at',
  frozenAt: 'frozen_at',
  closedAt: 'closed_at',
})

const items = mapping<ApprovalItem>({
  tenant: 'tenant',
  approval: 'approval',
  subject: 'subject',
  since: 'since',
  client: 'client',
  clientPerson: 'client_person',
  outcome: 'outcome',
  reason: 'reason',
  decidedBy: 'decided_by',
  decidedAt: 'decided_at',
  operation: 'operation',
})

function statements({ db, dialect }: Sql) {
  const approval = db.selectFrom('approval').selectAll().where('tenant', '=', arg('tenant'))
  const item = db
    .selectFrom('approval_item')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
    .where('approval', '=', arg('approval'))
  // Those who are counted against the next one: everybody else of the directory, held or not.
  const others = (since: string) => sql<number>`(select count(*) from leaving
    where tenant = ${arg('tenant')} and directory = ${arg('directory')}
      and at > ${arg(since)} and person <> ${arg('person')})`
  return {
    counts: statement(
      db.selectNoFrom([
        others('hourAgo').as('hour'),
        others('dayAgo').as('day'),
        sql<number>`(select cast(coalesce(sum(total), 0) as integer) from counter
          where tenant = ${arg('tenant')} and type = ${dialect.literal('activePerson')}
            and directory = ${arg('directory')})`.as('active'),
        sql<number>`(select count(*) from leaving
          where tenant = ${arg('tenant')} and person = ${arg('person')}
            and at > ${arg('hourAgo')} and held = 0)`.as('let_go'),
      ]),
    ),
    leave: statement(
      db
        .insertInto('leaving')
        .values(gaps(['tenant', 'person', 'directory', 'at', 'held']))
        .onConflict((conflict) =>
          conflict.columns(['tenant', 'person']).doUpdateSet(gaps(['directory', 'at', 'held'])),
        ),
    ),
    forget: statement(
      db
        .deleteFrom('leaving')
        .where('tenant', '=', arg('tenant'))
        .where('directory', '=', arg('directory'))
        .where('at', '<=', arg('dayAgo')),
    ),
    insert: statement(db.insertInto('approval').values(gaps(approvals.columns))),
    join: statement(
      db
        .updateTable('approval')
        .set({
          joined: sql<number>`joined + 1`,
          // A full batch takes nobody any more; who comes next begins another one.
          status: sql<string>`case when joined + 1 >= ${sql.lit(approvalItemsMax)} then 'waiting' else status end`,
        })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('status', '=', sql.lit('forming')),
    ),
    putItem: statement(
      db
        .insertInto('approval_item')
        .values(gaps(items.columns))
        .onConflict((conflict) =>
          conflict.columns(['tenant', 'approval', 'subject']).doUpdateSet(gaps(items.columns)),
        ),
    ),
    freeze: statement(
      db
        .updateTable('approval')
        .set({
          status: sql.lit('waiting'),
          ...gaps<Record<'hash' | 'policy_version' | 'plan', never>>([
            'hash',
            'policy_version',
            'plan',
          ]),
          frozen_at: arg('at'),
        })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('status', '<>', sql.lit('closed'))
        .where('joined', '=', arg<number>('joined')),
    ),
    decide: statement(
      db
        .updateTable('approval_item')
        .set(gaps(['outcome', 'reason', 'decided_by', 'decided_at', 'operation']))
        .where('tenant', '=', arg('tenant'))
        .where('approval', '=', arg('approval'))
        .where('subject', '=', arg('subject'))
        .where('outcome', 'is', null),
    ),
    close: statement(
      db
        .updateTable('approval')
        .set({ status: sql.lit('closed'), closed_at: arg('decided_at') })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('approval'))
        .where('status', '<>', sql.lit('closed'))
        .where(
          sql<boolean>`not exists (select 1 from approval_item as i
            where i.tenant = ${arg('tenant')} and i.approval = ${arg('approval')}
              and i.outcome is null)`,
        ),
    ),
    release: statement(
      db
        .deleteFrom('brake')
        .where('tenant', '=', arg('tenant'))
        .where('name', '=', sql.lit('leavers'))
        .where('subject', '=', arg('directory'))
        .where(
          sql<boolean>`not exists (select 1 from approval as a
            where a.tenant = ${arg('tenant')} and a.kind = 'leavers'
              and a.subject = ${arg('directory')} and a.status in ('forming', 'waiting'))`,
        ),
    ),
    one: statement(approval.where('id', '=', arg('id'))),
    forming: statement(
      approval
        .where('kind', '=', arg('kind'))
        .where('subject', '=', arg('subject'))
        .where('status', '=', sql.lit('forming')),
    ),
    all: statement(
      approval.where('id', '>', arg('after')).orderBy('id').limit(arg<number>('limit')),
    ),
    byStatus: statement(
      approval
        .where('status', '=', arg('status'))
        .where('id', '>', arg('after'))
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
    items: statement(
      item.where('subject', '>', arg('after')).orderBy('subject').limit(arg<number>('limit')),
    ),
    item: statement(item.where('subject', '=', arg('subject'))),
  }
}

/** Who left a directory lately, and the batches of those whose leaving waits for somebody's word. */
export function approvalRoom(context: Sql) {
  const s = statements(context)
  const toApproval = (row: Row) => approvals.fromRow(row)
  const toItem = (row: Row) => items.fromRow(row)

  return {
    leaving({ limits, at, held, ...who }: Extract<HoldChange, { type: 'leaving' }>): Work {
      const { tenant, person, directory, hourAgo, dayAgo } = who
      const args = { tenant, person, directory, hourAgo, dayAgo, at, held: Number(held) }
      return function* leaving() {
        yield* run(s.forget, args)
        if (limits !== null) {
          const row = (yield* first(s.counts, args))!
          const counts = countsOf(row)
          const full = counts.hour >= limits.hourly || counts.day >= limits.daily
          if (full && !counts.letGo) return { reason: 'braked', with: null }
        }
        yield* run(s.leave, args)
        return null
      }
    },

    hold({ approval, isNew, item }: Extract<HoldChange, { type: 'held' }>): Work {
      const row = approvals.toRow(approval)
      const itemRow = items.toRow(item)
      return function* hold() {
        if (isNew) {
          try {
            yield* run(s.insert, row)
          } catch (error) {
            if (!(error instanceof ConstraintFailed)) throw error
            return { reason: 'busy', with: null }
          }
        } else {
          const joined = yield* run(s.join, row)
          if (joined.changes === 0) return { reason: 'busy', with: approval.id }
        }
        yield* run(s.putItem, itemRow)
        return null
      }
    },

    freeze(change: Extract<HoldChange, { type: 'approvalFrozen' }>): Work {
      const { tenant, id, hash, policyVersion, joined, at } = change
      const plan = JSON.stringify(change.plan satisfies readonly PlannedAct[])
      const args = { tenant, id, hash, policy_version: policyVersion, plan, joined, at }
      return function* freeze() {
        const { changes } = yield* run(s.freeze, args)
        return changes === 1 ? null : { reason: 'version', with: id }
      }
    },

    decide({ item, directory, isFinal }: Extract<HoldChange, { type: 'approvalDecided' }>): Work {
      const args = { ...items.toRow(item), directory }
      return function* decide() {
        const { changes } = yield* run(s.decide, args)
        if (changes === 0 && isFinal) return { reason: 'version', with: item.approval }
        yield* run(s.close, args)
        yield* run(s.release, args)
        return null
      }
    },

    async counts(
      query: Query,
      tenant: TenantId,
      directory: string,
      who: { readonly person: string; readonly hourAgo: Instant; readonly dayAgo: Instant },
    ): Promise<LeaveCounts> {
      const [row] = await query(s.counts, { tenant, directory, ...who })
      return countsOf(row!)
    },
    async approval(query: Query, tenant: TenantId, id: string): Promise<Approval | null> {
      const [row] = await query(s.one, { tenant, id })
      return row === undefined ? null : toApproval(row)
    },
    async forming(query: Query, tenant: TenantId, kind: Approval['kind'], subject: string) {
      const [row] = await query(s.forming, { tenant, kind, subject })
      return row === undefined ? null : toApproval(row)
    },
    async list(
      query: Query,
      tenant: TenantId,
      want: {
        readonly status: ApprovalStatus | null
        readonly after: string | null
        readonly limit: number
      },
    ): Promise<readonly Approval[]> {
      const { status, limit } = want
      const after = want.after ?? ''
      const rows =
        status === null
          ? await query(s.all, { tenant, after, limit })
          : await query(s.byStatus, { tenant, status, after, limit })
      return rows.map(toApproval)
    },
    async items(
      query: Query,
      tenant: TenantId,
      approval: string,
      after: string | null,
      limit: number,
    ): Promise<readonly ApprovalItem[]> {
      return (await query(s.items, { tenant, approval, after: after ?? '', limit })).map(toItem)
    },
    async item(query: Query, tenant: TenantId, approval: string, subject: string) {
      const [row] = await query(s.item, { tenant, approval, subject })
      return row === undefined ? null : toItem(row)
    },
  }
}

/** PostgreSQL counts in 8 bytes, which its client hands out as text. */
function countsOf(row: Row): LeaveCounts {
  return {
    hour: Number(row['hour']),
    day: Number(row['day']),
    active: Number(row['active']),
    letGo: Number(row['let_go']) > 0,
  }
}
