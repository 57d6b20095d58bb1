import { sql } from 'kysely'
import type { Leader, Replica } from '../domain/replica.ts'
import { json, mapping } from './mapping.ts'
import type { ReplicaChange } from './replica-store.ts'
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

type Of<T extends ReplicaChange['type']> = Extract<ReplicaChange, { type: T }>
type Work = () => Steps<Refusal | null>

const replica = mapping<Replica>({
  id: 'id',
  version: 'version',
  roles: json('roles'),
  policy: 'policy',
  startedAt: 'started_at',
  seenAt: 'seen_at',
  clockOffset: 'clock_offset',
})
const leader = mapping<Leader>({
  job: 'job',
  holder: 'holder',
  fence: 'fence',
  until: 'lease_until',
})

function statements({ db }: Sql) {
  return {
    seen: statement(
      db
        .insertInto('replica')
        .values(gaps(replica.columns))
        .onConflict((c) =>
          c.column('id').doUpdateSet(gaps(replica.columns.filter((name) => name !== 'id'))),
        ),
    ),
    forget: statement(db.deleteFrom('replica').where('seen_at', '<', arg('before'))),
    gone: statement(db.deleteFrom('replica').where('id', '=', arg('id'))),
    replicas: statement(db.selectFrom('replica').selectAll().orderBy('id')),
    // One statement decides: of two that find the lease lapsed, one changes the row.
    lead: statement(
      db
        .insertInto('leader')
        .values({
          job: arg('job'),
          holder: arg('holder'),
          fence: 1,
          lease_until: arg('until'),
        })
        .onConflict((c) =>
          c
            .column('job')
            .doUpdateSet({
              holder: arg('holder'),
              lease_until: arg('until'),
              fence: sql<number>`leader.fence + case when leader.holder = ${arg('holder')} then 0 else 1 end`,
            })
            .where((eb) =>
              eb.or([
                eb('leader.holder', '=', arg('holder')),
                eb('leader.lease_until', '<=', arg('now')),
              ]),
            ),
        ),
    ),
    // Written, so that nobody else can take over before this commit is through.
    led: statement(
      db
        .updateTable('leader')
        .set({ fence: sql<number>`fence` })
        .where('job', '=', arg('job'))
        .where('fence', '=', arg<number>('fence')),
    ),
    leader: statement(db.selectFrom('leader').selectAll().where('job', '=', arg('job'))),
  }
}

/** Who is there, and who does what only one may do. */
export function replicaRoom(sqlOf: Sql) {
  const s = statements(sqlOf)
  return {
    seen: ({ replica: row, forget }: Of<'replicaSeen'>): Work =>
      function* seen() {
        yield* run(s.seen, replica.toRow(row))
        yield* run(s.forget, { before: forget })
        return null
      },
    gone: ({ id }: Of<'replicaGone'>): Work =>
      function* gone() {
        yield* run(s.gone, { id })
        return null
      },
    lead: ({ job, holder, now, until }: Of<'lead'>): Work =>
      function* lead() {
        const { changes } = yield* run(s.lead, { job, holder, now, until })
        if (changes === 1) return null
        const other = yield* first(s.leader, { job })
        return { reason: 'busy', with: (other?.['holder'] as string | undefined) ?? null }
      },
    led: ({ job, fence }: Of<'led'>): Work =>
      function* led() {
        const { changes } = yield* run(s.led, { job, fence })
        return changes === 1 ? null : { reason: 'fence', with: job }
      },
    async replicas(query: Query): Promise<readonly Replica[]> {
      return (await query(s.replicas, {})).map((row) => replica.fromRow(row))
    },
    async leader(query: Query, job: string): Promise<Leader | null> {
      const [row] = await query(s.leader, { job })
      return row === undefined ? null : leader.fromRow(row)
    },
  }
}
