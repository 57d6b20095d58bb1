import { sql, type RawBuilder } from 'kysely'
import type { TenantId } from '../domain/ids.ts'
import { openStatuses } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'

import {
  arg,
  run,
  statement,
  type Query,
  type Refusal,
  type Row,
  type Sql,
  type Statement,
  type Steps,
} from './sql.ts'
import type { Change, Due, DuePage, ExpiringQuery } from './store.ts'

/** `warned` of what has an end that no event has told of yet. */
export const unwarned = 99

const openWork = sql.raw(openStatuses.map((status) => `'${status}'`).join(', '))
// Literal, and spelt as in the partial indexes, or they would not be considered.
const isOpen = sql<boolean>`a.status in ('provisioning', 'active', 'orphaned')`

/** A position in a list by date: behind `(at, id)`. */
const behind = (at: RawBuilder<unknown>, id: RawBuilder<unknown>) =>
  sql<boolean>`(${at}, ${id}) > (${arg('at')}, ${arg('id')})`

function statements({ db, dialect }: Sql) {
  const limit = arg<number>('limit')
  const page = sql`limit ${limit}`
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const given = dialect.json.elements(dialect.json.document(sql`${arg('list')}`), [], 'e')
  const listed = sql`select ${given.plain('text')} from ${given.from}`

  const noWorkOnAccount = sql<boolean>`not exists (
    select 1 from operation as w
    where w.tenant = a.tenant and w.subject = a.id and w.subject_type = 'account'
      and w.status in (${openWork}))`
  const noWorkOnCredential = sql<boolean>`not exists (
    select 1 from operation as w
    where w.tenant = c.tenant and w.subject = c.id and w.status in (${openWork}))`
  const ownerGone = sql<boolean>`not exists (
    select 1 from resource as o
    where o.tenant = a.tenant and o.id = a.owner_id and o.type = 'person'
      and ((o.active = 1 and o.deleted_at is null) or o.held_by is not null))`

  // A group that was left empty; how long it may stay so is for the decision to say.
  const groupGone = sql<boolean>`not exists (
    select 1 from grp as g
    where g.tenant = a.tenant and g.id = a.owner_id
      and g.deleted_at is null and g.emptied_at is null)`
  const nobody = sql<boolean>`((a.owner_type = 'User' and ${ownerGone}) or (a.owner_type = 'Group' and ${groupGone}))`

  const accounts = (at: RawBuilder<unknown>, where: RawBuilder<boolean>) =>
    compiled(sql`select a.tenant, a.id, ${at} as at from resource as a
      where ${where} and ${behind(at, sql.ref('a.id'))} order by ${at}, a.id ${page}`)
  const credentials = (at: RawBuilder<unknown>, where: RawBuilder<boolean>) =>
    compiled(sql`select c.tenant, c.id, ${at} as at from credential as c
      where ${where} and ${behind(at, sql.ref('c.id'))}
        and exists (select 1 from resource as a
          where a.tenant = c.tenant and a.id = c.account and ${isOpen})
      order by ${at}, c.id ${page}`)
  const ownedBy = (owner: RawBuilder<unknown>, where: RawBuilder<boolean>) =>
    compiled(sql`select a.tenant, a.id, ${owner} as at from resource as a
      where a.tenant = ${arg('tenant')} and ${owner} in (${listed}) and ${where}
        and ${behind(owner, sql.ref('a.id'))} and ${noWorkOnAccount}
      order by ${owner}, a.id ${page}`)
  const soon = sql<boolean>`${sql.ref('warned')} = ${arg<number>('warned')}`
  const expiresAt = sql`expires_at`
  const emptiedAt = sql`coalesce(g.emptied_at, g.deleted_at)`
  const works = sql<boolean>`c.status in ('active', 'superseded')`

  return {
    // How far a page goes: so many open accounts are looked at, however few of them are orphans.
    stretch: compiled(sql`select max(id) as last, count(*) as looked from (
      select a.id from resource as a where ${isOpen} and a.id > ${arg('id')} order by a.id ${page}) as stretch`),
    orphans: compiled(sql`select a.tenant, a.id from resource as a
      where ${isOpen} and a.id > ${arg('id')} and a.id <= ${arg('last')}
        and (a.disable_at <= ${arg('now')} or (${nobody} and ${noWorkOnAccount}))
      order by a.id`),
    overdue: accounts(
      sql`a.disable_at`,
      sql`${isOpen} and a.disable_at is not null and a.disable_at <= ${arg('now')}`,
    ),
    peopleGone: compiled(sql`select p.tenant, p.id, p.updated_at as at from resource as p
      where p.type = 'person' and p.active = 0 and p.updated_at <= ${arg('until')}
        and ${behind(sql`p.updated_at`, sql`p.id`)} order by p.updated_at, p.id ${page}`),
    leaving: compiled(sql`select p.tenant, p.id, p.leaves_at as at from resource as p
      where p.type = 'person' and p.active = 1 and p.leaves_at is not null
        and p.leaves_at <= ${arg('until')} and ${behind(sql`p.leaves_at`, sql`p.id`)}
      order by p.leaves_at, p.id ${page}`),
    groupsGone: compiled(sql`select g.tenant, g.id, ${emptiedAt} as at from grp as g
      where ${emptiedAt} is not null and ${emptiedAt} <= ${arg('until')}
        and ${behind(emptiedAt, sql`g.id`)} order by ${emptiedAt}, g.id ${page}`),
    ownedBy: ownedBy(sql`a.owner_id`, isOpen),
    waitingFor: ownedBy(
      sql`a.pending_owner_id`,
      sql`a.status = 'orphaned' and a.pending_owner_id is not null`,
    ),
    expired: accounts(sql`a.expires_at`, sql`${isOpen} and a.expires_at <= ${arg('now')}`),
    deletable: accounts(
      sql`a.delete_at`,
      sql`a.status in ('disabled', 'expired', 'retired') and a.delete_at is not null
        and a.delete_at <= ${arg('now')} and ${noWorkOnAccount}`,
    ),
    rotationDue: credentials(
      sql`c.rotate_after`,
      sql`c.status = 'active' and c.rotate_after is not null and c.rotate_after <= ${arg('now')}
        and ${noWorkOnCredential}`,
    ),
    leftBehind: compiled(sql`select c.tenant, c.id, k.issued_at as at
      from issued_key as k ${dialect.nested} credential as c
        on c.tenant = k.tenant and c.id = k.credential
      where k.status = 'superseded' and k.issued_at <= ${arg('now')} and c.status = 'active'
        and ${behind(sql`k.issued_at`, sql`k.credential`)} and ${noWorkOnCredential}
        and exists (select 1 from resource as a
          where a.tenant = c.tenant and a.id = c.account and ${isOpen})
      order by k.issued_at, k.credential ${page}`),
    planned: compiled(sql`select c.tenant, c.id, c.id as at from credential as c
      where c.status in ('active', 'disabled') and c.rotate_after is not null
        and c.id > ${arg('id')} order by c.id ${page}`),
    expiredCredentials: credentials(
      sql`c.expires_at`,
      sql`${works} and c.expires_at <= ${arg('now')}`,
    ),
    expiring: accounts(
      sql`a.expires_at`,
      sql`${isOpen} and a.${soon} and a.expires_at <= ${arg('until')}`,
    ),
    expiringCredentials: credentials(
      sql`c.expires_at`,
      sql`${works} and c.${soon} and c.expires_at <= ${arg('until')}`,
    ),

    warned: {
      account: compiled(sql`update resource set warned = ${arg<number>('days')}
        where tenant = ${arg('tenant')} and id = ${arg('id')} and ${expiresAt} = ${arg('expires')}
          and warned > ${arg<number>('days')}`),
      credential: compiled(sql`update credential set warned = ${arg<number>('days')}
        where tenant = ${arg('tenant')} and id = ${arg('id')} and ${expiresAt} = ${arg('expires')}
          and warned > ${arg<number>('days')}`),
    },
    lastSlot: statement(
      db
        .selectFrom('slot')
        .select('slot')
        .where('job', '=', arg('job'))
        .orderBy('slot', 'desc')
        .limit(1),
    ),
  }
}

/**
 * What the sweeps ask, over all tenants: ids only, in pages that each look at a bounded number of
 * rows of one index, so that no statement takes long, whatever the database holds.
 */
export function sweepRoom(context: Sql) {
  const s = statements(context)
  const dueOf = (row: Row): Due => ({ tenant: row['tenant'] as TenantId, id: row['id'] as string })

  const listed = async (
    query: Query,
    of: Statement,
    args: Row,
    after: string | null,
    limit: number,
  ): Promise<DuePage> => {
    const rows = await query(of, { ...args, ...placeOf(after), limit })
    const last = rows.at(-1)
    const next =
      last && rows.length === limit ? `${String(last['at'])} ${String(last['id'])}` : null
    return { rows: rows.map(dueOf), next }
  }
  const byNow =
    (
      of: 'overdue' | 'expired' | 'deletable' | 'rotationDue' | 'leftBehind' | 'expiredCredentials',
    ) =>
    (query: Query, now: Instant, after: string | null, limit: number) =>
      listed(query, s[of], { now }, after, limit)

  return {
    async orphans(query: Query, now: Instant, after: string | null, limit: number) {
      const id = after ?? ''
      const [stretch] = await query(s.stretch, { id, limit })
      const last = stretch?.['last'] ?? null
      if (last === null) return { rows: [], next: null }
      const rows = await query(s.orphans, { now, id, last })
      const isWhole = Number(stretch!['looked']) === limit
      return { rows: rows.map(dueOf), next: isWhole ? String(last) : null }
    },
    overdue: byNow('overdue'),
    expired: byNow('expired'),
    deletable: byNow('deletable'),
    rotationDue: byNow('rotationDue'),
    leftBehind: byNow('leftBehind'),
    expiredCredentials: byNow('expiredCredentials'),
    planned: (query: Query, after: string | null, limit: number) =>
      listed(query, s.planned, {}, after, limit),

    gone(
      query: Query,
      of: 'people' | 'groups',
      range: { readonly from: Instant; readonly until: Instant },
      after: string | null,
      limit: number,
    ) {
      const { from, until } = range
      const place = after ?? `${from} `
      return listed(query, of === 'people' ? s.peopleGone : s.groupsGone, { until }, place, limit)
    },
    leaving: (query: Query, until: Instant, after: string | null, limit: number) =>
      listed(query, s.leaving, { until }, after, limit),
    accountsOf(
      query: Query,
      of: 'ownedBy' | 'waitingFor',
      tenant: TenantId,
      owners: readonly string[],
      after: string | null,
      limit: number,
    ) {
      return listed(query, s[of], { tenant, list: JSON.stringify(owners) }, after, limit)
    },
    expiring(query: Query, want: ExpiringQuery, after: string | null, limit: number) {
      const { of, from, until } = want
      const args = { warned: want.warned ?? unwarned, until }
      const statement = of === 'account' ? s.expiring : s.expiringCredentials
      // Behind every id of that instant: what has ended is not warned of.
      return listed(query, statement, args, after ?? `${from} ~`, limit)
    },

    warned(
      change: Extract<Change, { readonly type: 'expiryWarned' }>,
    ): () => Steps<Refusal | null> {
      const { tenant, subjectType, id, expiresAt, days } = change
      return function* warned() {
        const args = { tenant, id, expires: expiresAt, days }
        const { changes } = yield* run(s.warned[subjectType], args)
        return changes === 1 ? null : { reason: 'version', with: id }
      }
    },
    async lastSlot(query: Query, job: string): Promise<Instant | null> {
      const [row] = await query(s.lastSlot, { job })
      return (row?.['slot'] ?? null) as Instant | null
    },
  }
}

/** A cursor is `<what the list is ordered by> <id>`; the first part has no space in it. */
function placeOf(after: string | null): { readonly at: string; readonly id: string } {
  if (after === null) return { at: '', id: '' }
  const space = after.indexOf(' ')
  return { at: after.slice(0, space), id: after.slice(space + 1) }
}
