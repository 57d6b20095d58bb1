import { sql } from 'kysely'
import type { AccountId, TenantId } from '../domain/ids.ts'
import type { Task } from '../domain/task.ts'
import { flag, json, mapping } from './mapping.ts'
import {
  arg,
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
import type { TaskChange, TaskQuery } from './task-store.ts'
import { putVersioned } from './versioned.ts'

type Work = () => Steps<Refusal | null>

const tasks = mapping<Task>({
  tenant: 'tenant',
  id: 'id',
  provider: 'provider',
  account: 'account',
  credential: 'credential',
  keyId: 'key_id',
  action: 'action',
  status: 'status',
  assignee: 'assignee',
  instructions: 'instructions',
  dueAt: 'due_at',
  operation: 'operation',
  createdAt: 'created_at',
  updatedAt: 'updated_at',
  doneAt: 'done_at',
  doneBy: 'done_by',
  note: 'note',
  removed: flag('removed'),
  evidence: json('evidence'),
  version: 'version',
})
const writable = tasks.columns.filter((c) => !['tenant', 'id', 'version'].includes(c))

function statements({ db }: Sql) {
  const task = db.selectFrom('task').selectAll()
  const one = task.where('tenant', '=', arg('tenant')).where('id', '=', arg('id'))
  return {
    insert: statement(db.insertInto('task').values(gaps(tasks.columns))),
    update: statement(
      db
        .updateTable('task')
        .set(gaps(writable))
        .set({ version: sql<number>`version + 1` })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('version', '=', arg<number>('expected')),
    ),
    one: statement(one),
    same: statement(
      task
        .where('tenant', '=', arg('tenant'))
        .where('provider', '=', arg('provider'))
        .where('account', '=', arg('account'))
        .where('key_id', '=', arg('key_id'))
        .where('action', '=', arg('action'))
        .where(sql<boolean>`status = 'open'`),
    ),
    ofAccount: statement(
      task.where('tenant', '=', arg('tenant')).where('account', '=', arg('account')).orderBy('id'),
    ),
    atProvider: statement(
      task
        .where('provider', '=', arg('provider'))
        .where('id', '>', arg('after'))
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
    putEvidence: statement(
      db
        .insertInto('task_evidence')
        .values(gaps(['tenant', 'task', 'content']))
        .onConflict((c) => c.columns(['tenant', 'task']).doUpdateSet(gaps(['content']))),
    ),
    evidence: statement(
      db
        .selectFrom('task_evidence')
        .select('content')
        .where('tenant', '=', arg('tenant'))
        .where('task', '=', arg('id')),
    ),
  }
}

/** Tasks for people, and what they showed for them. */
export function taskRoom(context: Sql) {
  const { db } = context
  const s = statements(context)

  const versioned = {
    insert: s.insert,
    update: s.update,
    exists: s.one,
    *clash(row: Row): Steps<Refusal | null> {
      if (row['status'] !== 'open') return null
      const other = yield* first(s.same, row)
      return other === null || other['id'] === row['id']
        ? null
        : { reason: 'busy', with: other['id'] as string }
    },
  }

  return {
    put(task: Task, expected: number | null): Work {
      const row = { ...tasks.toRow(task), version: 1 }
      return () => putVersioned(versioned, row, expected)
    },
    putEvidence({ tenant, task, content }: Extract<TaskChange, { type: 'taskEvidence' }>): Work {
      const text = Buffer.from(content).toString('base64')
      return function* putEvidence() {
        const known = yield* first(s.one, { tenant, id: task })
        if (known === null) return { reason: 'missing', with: task }
        yield* run(s.putEvidence, { tenant, task, content: text })
        return null
      }
    },

    async one(query: Query, tenant: TenantId, id: string): Promise<Task | null> {
      const [row] = await query(s.one, { tenant, id })
      return row === undefined ? null : tasks.fromRow(row)
    },
    async list(query: Query, want: TaskQuery): Promise<readonly Task[]> {
      let select = db.selectFrom('task').selectAll().where('tenant', '=', arg('tenant'))
      for (const key of ['status', 'assignee', 'account'] as const) {
        if (want[key] !== undefined) select = select.where(key, '=', arg(key))
      }
      if (want.after !== null) select = select.where('id', '<', arg('after'))
      const newest = select.orderBy('id', 'desc').limit(arg<number>('limit'))
      const rows = await query(statement(newest), {
        tenant: want.tenant,
        status: want.status ?? null,
        assignee: want.assignee ?? null,
        account: want.account ?? null,
        after: want.after,
        limit: want.limit,
      })
      return rows.map((row) => tasks.fromRow(row))
    },
    async ofAccount(query: Query, tenant: TenantId, account: AccountId) {
      return (await query(s.ofAccount, { tenant, account })).map((row) => tasks.fromRow(row))
    },
    async atProvider(query: Query, provider: string, after: string | null, limit: number) {
      const rows = await query(s.atProvider, { provider, after: after ?? '', limit })
      return rows.map((row) => tasks.fromRow(row))
    },
    async evidence(query: Query, tenant: TenantId, id: string): Promise<Uint8Array | null> {
      const [row] = await query(s.evidence, { tenant, id })
      return row === undefined ? null : Buffer.from(row['content'] as string, 'base64')
    },
  }
}
