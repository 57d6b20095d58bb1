import { sql, type RawBuilder } from 'kysely'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import type { Departure, DepartureChange } from './departure-store.ts'
import { around, within } from './membership.ts'
import { mapping } from './mapping.ts'
import { arg, run, statement, type Query, type Refusal, type Sql, type Steps } from './sql.ts'
import type { DuePage } from './store.ts'

type Work = () => Steps<Refusal | null>

const departures = mapping<Departure>({
  tenant: 'tenant',
  member: 'member',
  group: 'grp',
  at: 'at',
  dueAt: 'due_at',
})

function statements({ db, dialect }: Sql) {
  const given = dialect.json.elements(dialect.json.document(sql`${arg('list')}`), [], 'e')
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const tenant = sql<string>`${arg('tenant')}`
  const member = sql<string>`${arg('member')}`
  // Ids hold neither quotes nor wildcards, and few credentials have readers: a list of its own.
  const readBy = (id: RawBuilder<unknown>) => sql<boolean>`c.tenant = ${tenant}
    and c.readers <> '[]' and c.readers like '%"' || ${id} || '"%'`
  const matters = (id: RawBuilder<unknown>) => sql<boolean>`(exists (
      select 1 from resource as a where a.tenant = ${tenant} and a.owner_id = ${id})
    or exists (select 1 from credential as c where ${readBy(id)}))`
  const one = sql`select * from departure where tenant = ${tenant} and member = ${member}`
  const anew = sql`on conflict (tenant, member, grp)
    do update set at = excluded.at, due_at = excluded.due_at`
  return {
    // Few groups own or read anything: of 1 000 members who go from another one nothing is looked at.
    depart: compiled(sql`insert into departure (tenant, member, grp, at, due_at)
      select ${tenant}, p.id, g.id, ${arg('at')}, ${arg('dueAt')} from grp as g
      cross join resource as p
      where g.tenant = ${tenant} and g.deleted_at is null
        and g.id in (${around(sql`${arg('start')}`, tenant)}) and ${matters(sql.ref('g.id'))}
        and p.tenant = g.tenant and p.type = 'person' and p.directory = g.directory
        and p.id in (${within(sql`select ${given.plain('text')} from ${given.from}`, tenant)})
      ${anew}`),
    departAlone: compiled(sql`insert into departure (tenant, member, grp, at, due_at)
      select ${tenant}, ${member}, ${member}, ${arg('at')}, ${arg('dueAt')} from (select 1 as one) as once
      where exists (select 1 from credential as c where ${readBy(member)}) ${anew}`),
    handOver: compiled(sql`insert into departure (tenant, member, grp, at, due_at)
      values (${tenant}, ${member}, ${arg('group')}, ${arg('at')}, ${arg('dueAt')}) ${anew}`),
    hasten: compiled(sql`update departure set due_at = ${arg('dueAt')}
      where tenant = ${tenant} and member = ${member} and due_at > ${arg('dueAt')}`),
    seen: compiled(sql`update departure set due_at = ${arg('next')}
      where tenant = ${tenant} and member = ${member} and grp = ${arg('group')}
        and due_at = ${arg('dueAt')}`),
    forget: compiled(sql`delete from departure
      where tenant = ${tenant} and member = ${member} and grp = ${arg('group')}
        and due_at = ${arg('dueAt')}`),
    one: compiled(sql`${one} and grp = ${arg('group')}`),
    of: compiled(sql`${one} order by grp`),
    moved: compiled(sql`select 1 as one from departure as d
      join resource as p on p.tenant = d.tenant and p.id = d.member
        and p.type = 'person' and p.active = 1 and p.deleted_at is null
      where d.tenant = ${tenant} and d.grp = ${arg('group')} and d.at >= ${arg('since')}
        and exists (select 1 from member as m where m.tenant = d.tenant
          and m.member_id = d.member and m.group_id <> d.grp) limit 1`),
    due: compiled(sql`select d.tenant, d.member, d.grp, d.due_at as at from departure as d
      where d.due_at <= ${arg('now')}
        and (d.due_at, d.member, d.grp) > (${arg('at')}, ${arg('member')}, ${arg('group')})
      order by d.due_at, d.member, d.grp limit ${arg<number>('limit')}`),
    readBy: compiled(sql`select c.id from credential as c
      where ${readBy(sql`${arg('reader')}`)} and c.id > ${arg('after')}
      order by c.id limit ${arg<number>('limit')}`),
  }
}

/** Who can no longer read what, until it has been rotated. */
export function departureRoom(context: Sql) {
  const s = statements(context)
  return {
    depart(change: Extract<DepartureChange, { type: 'departed' }>): Work {
      const { tenant, members, from, at, dueAt } = change
      const list = JSON.stringify(members)
      return function* depart() {
        if (from !== null) {
          yield* run(s.depart, { tenant, list, start: from, at, dueAt })
          return null
        }
        for (const member of members) {
          const own = JSON.stringify([member])
          yield* run(s.depart, { tenant, list: own, start: member, at, dueAt })
          yield* run(s.departAlone, { tenant, member, at, dueAt })
          yield* run(s.hasten, { tenant, member, dueAt })
        }
        return null
      }
    },
    handOver({ departure }: Extract<DepartureChange, { type: 'handedOver' }>): Work {
      const { tenant, member, group, at, dueAt } = departure
      return function* handOver() {
        yield* run(s.handOver, { tenant, member, group, at, dueAt })
        return null
      }
    },
    seen({ departure, dueAt }: Extract<DepartureChange, { type: 'departureSeen' }>): Work {
      const { tenant, member, group } = departure
      const args = { tenant, member, group, dueAt: departure.dueAt }
      return function* seen() {
        const { changes } =
          dueAt === null ? yield* run(s.forget, args) : yield* run(s.seen, { ...args, next: dueAt })
        return changes === 1 ? null : { reason: 'version', with: member }
      }
    },

    async one(query: Query, tenant: TenantId, member: string, group: string) {
      const [row] = await query(s.one, { tenant, member, group })
      return row === undefined ? null : departures.fromRow(row)
    },
    async of(query: Query, tenant: TenantId, member: string) {
      return (await query(s.of, { tenant, member })).map((row) => departures.fromRow(row))
    },
    async movedFrom(query: Query, tenant: TenantId, group: string, since: Instant) {
      return (await query(s.moved, { tenant, group, since })).length > 0
    },
    async due(query: Query, now: Instant, after: string | null, limit: number): Promise<DuePage> {
      const [at = '', member = '', group = ''] = after?.split(' ') ?? []
      const rows = await query(s.due, { now, at, member, group, limit })
      const last = rows.at(-1)
      return {
        rows: rows.map((row) => ({
          tenant: row['tenant'] as TenantId,
          id: `${String(row['member'])} ${String(row['grp'])}`,
        })),
        next:
          last && rows.length === limit
            ? `${String(last['at'])} ${String(last['member'])} ${String(last['grp'])}`
            : null,
      }
    },
    async readBy(query: Query, tenant: TenantId, reader: string, after: string, limit: number) {
      const rows = await query(s.readBy, { tenant, reader, after, limit })
      return rows.map((row) => row['id'] as string)
    },
  }
}
