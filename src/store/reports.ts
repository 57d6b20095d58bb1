import { sql, type RawBuilder } from 'kysely'
import type { AccountStatus, ServiceAccount } from '../domain/account.ts'
import type { CredentialStatus } from '../domain/credential.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import { accountFromRow, credentialFromRow, keyFromRow } from './entity-rows.ts'
import type { EndsOfDay, ReportCounts, RevokedKey, StateCounts } from './report-store.ts'
import { reportCountMax } from './report-store.ts'
import { arg, statement, type Query, type Sql } from './sql.ts'
import type { DocumentCodec } from './store.ts'

/** Leavings that one look follows up: each asks for its own open work. */
const leavingsMax = 1_000

const isOpen = sql<boolean>`a.status in ('provisioning', 'active', 'orphaned')`

function statements({ db, dialect }: Sql) {
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const tenant = arg('tenant')
  const most = sql.lit(reportCountMax)
  const counted = (rows: RawBuilder<unknown>) =>
    compiled(sql`select cast(count(*) as integer) as total from (${rows} limit ${most}) as counted`)
  const inStatus = (status: string) =>
    counted(sql`select 1 from operation where tenant = ${tenant} and status = ${sql.lit(status)}
      and status <> 'succeeded'`)
  // Who left last first: what they own still has to be looked after; who left long ago owns nothing.
  const gone = (
    table: string,
    at: RawBuilder<unknown>,
    where: RawBuilder<boolean>,
  ) => sql`(select id from ${sql.table(table)} where ${where} and ${dialect.unindexed(sql`tenant`)} = ${tenant}
    order by ${at} desc limit ${most})`
  const emptiedAt = sql`coalesce(emptied_at, deleted_at)`
  const owned = (by: RawBuilder<unknown>, type: 'User' | 'Group') =>
    sql`select 1 from ${by} as o ${dialect.nested} resource as a
      on a.tenant = ${tenant} and a.owner_id = o.id and a.owner_type = ${sql.lit(type)} and ${isOpen}`

  return {
    states: compiled(
      sql`select type, directory as part, cast(sum(total) as integer) as n from counter
        where tenant = ${tenant} and type in ('accountStatus', 'credentialStatus')
        group by type, directory having sum(total) <> 0 order by type, directory`,
    ),
    ends: compiled(
      sql`select type, directory as day, cast(sum(total) as integer) as n from counter
        where tenant = ${tenant} and type in ('accountEnds', 'credentialEnds')
          and directory >= ${arg('from')} and directory < ${arg('until')}
        group by type, directory having sum(total) <> 0 order by directory`,
    ),
    ownedByGone: counted(
      sql`${owned(gone('resource', sql`updated_at`, sql`type = 'person' and active = 0`), 'User')}
        and not exists (select 1 from resource as h
          where h.tenant = ${tenant} and h.id = o.id and h.held_by is not null)`,
    ),
    ownedByEmpty: counted(owned(gone('grp', emptiedAt, sql`${emptiedAt} is not null`), 'Group')),
    expiredAccounts: counted(
      // In this order, or SQLite would take the index of all that ever ended for as good.
      sql`select 1 from resource as a where a.tenant = ${tenant} and a.expires_at <= ${arg('now')}
        and ${isOpen} order by a.expires_at, a.id`,
    ),
    expiredCredentials: counted(
      sql`select 1 from credential where status in ('active', 'superseded')
        and expires_at <= ${arg('now')} and tenant = ${tenant}`,
    ),
    overdue: counted(
      sql`select 1 from credential where status = 'active' and rotate_after is not null
        and rotate_after < ${arg('late')} and tenant = ${tenant}`,
    ),
    overdueFirst: compiled(
      sql`select * from credential where status = 'active' and rotate_after is not null
        and rotate_after < ${arg('late')} and tenant = ${tenant}
        order by rotate_after, id limit ${arg('limit')}`,
    ),
    queued: inStatus('queued'),
    running: inStatus('running'),
    waiting: inStatus('waiting'),
    needsOperator: inStatus('needsOperator'),
    oldestWaiting: compiled(
      sql`select created_at from operation where tenant = ${tenant} and status = 'waiting'
        and status <> 'succeeded' order by id limit 1`,
    ),
    approvals: counted(
      sql`select 1 from approval where tenant = ${tenant} and status in ('forming', 'waiting')`,
    ),
    oldestKeys: compiled(
      sql`select * from issued_key where provider = ${arg('provider')} and status = 'active'
        and tenant = ${tenant} order by issued_at limit ${arg('limit')}`,
    ),
    // What ended the key: the last word on it, or on its account, before it was refused. A key that a
    // rotation replaced was not revoked: it had its overlap.
    revoked: compiled(
      sql`select k.refused_at, (
          select coalesce(c.created_at, o.created_at) from operation as o
            left join operation as c on c.id = o.cause and c.tenant = o.tenant
          where o.tenant = k.tenant and o.subject in (k.credential, k.account)
            and o.kind in ('revoke', 'disable', 'retire') and o.created_at <= k.refused_at
          order by o.created_at desc limit 1) as caused_at
        from (select tenant, credential, account, refused_at from issued_key
          where tenant = ${tenant} and refused_at is not null and refused_at >= ${arg('since')}
          order by refused_at desc limit ${arg('limit')}) as k`,
    ),
    leavings: compiled(
      sql`select sum(case when l.open = 1 then 1 else 0 end) as open, count(*) as total
        from (select case when o.status in ('queued', 'running', 'waiting', 'needsOperator')
            or exists (select 1 from operation as w where w.tenant = o.tenant
              and w.cause = o.cause
              and w.status in ('queued', 'running', 'waiting', 'needsOperator'))
            then 1 else 0 end as open
          from (select tenant, status, cause, created_at from operation
            where tenant = ${tenant} and kind = 'leave' order by id desc
            limit ${sql.lit(leavingsMax)}) as o
          where o.created_at >= ${arg('since')} and o.status not in ('cancelled', 'failed')) as l`,
    ),
    imported: compiled(
      sql`select a.* from resource as a where a.tenant = ${tenant} and a.imported = 1
        and ${isOpen} and a.id > ${arg('after')} order by a.id limit ${arg('limit')}`,
    ),
    open: compiled(
      sql`select a.* from resource as a where ${isOpen} and a.id > ${arg('after')}
        and a.tenant = ${tenant} order by a.id limit ${arg('limit')}`,
    ),
  }
}

/** What reports ask: sums of counters, and counts over narrow indexes that end at a bound. */
export function reportRoom(context: Sql, codec: DocumentCodec) {
  const s = statements(context)
  const totalOf = (rows: readonly { readonly [name: string]: unknown }[]): number =>
    Number(rows[0]?.['total'] ?? 0)

  return {
    async states(query: Query, tenant: TenantId): Promise<StateCounts> {
      const rows = await query(s.states, { tenant })
      const accounts: StateCounts['accounts'][number][] = []
      const credentials: StateCounts['credentials'][number][] = []
      for (const row of rows) {
        const part = String(row['part'])
        const count = Number(row['n'])
        const space = part.lastIndexOf(' ')
        if (row['type'] === 'accountStatus') {
          accounts.push({ status: part as AccountStatus, count })
        } else {
          const status = part.slice(space + 1) as CredentialStatus
          credentials.push({ provider: part.slice(0, space), status, count })
        }
      }
      return { accounts, credentials }
    },

    async endsByDay(query: Query, tenant: TenantId, from: string, until: string) {
      const days = new Map<string, EndsOfDay>()
      for (const row of await query(s.ends, { tenant, from, until })) {
        const day = String(row['day'])
        const before = days.get(day) ?? { day, accounts: 0, credentials: 0 }
        const of = row['type'] === 'accountEnds' ? 'accounts' : 'credentials'
        days.set(day, { ...before, [of]: Number(row['n']) })
      }
      return [...days.values()]
    },

    async counts(
      query: Query,
      tenant: TenantId,
      now: Instant,
      late: Instant,
    ): Promise<ReportCounts> {
      const ask = async (of: keyof typeof s) =>
        totalOf(await query(s[of], { tenant, now, late }, 'heavy'))
      const [byGone, byEmpty, expiredAccounts, expiredCredentials, rotationsOverdue] =
        await Promise.all([
          ask('ownedByGone'),
          ask('ownedByEmpty'),
          ask('expiredAccounts'),
          ask('expiredCredentials'),
          ask('overdue'),
        ])
      const [queued, running, waiting, needsOperator, approvalsWaiting] = await Promise.all([
        ask('queued'),
        ask('running'),
        ask('waiting'),
        ask('needsOperator'),
        ask('approvals'),
      ])
      const [oldest] = await query(s.oldestWaiting, { tenant })
      return {
        withoutOwner: byGone + byEmpty,
        expiredAccounts,
        expiredCredentials,
        rotationsOverdue,
        operations: { queued, running, waiting, needsOperator },
        oldestWaitingAt: (oldest?.['created_at'] ?? null) as Instant | null,
        approvalsWaiting,
      }
    },

    async oldestKeys(query: Query, tenant: TenantId, providers: readonly string[], limit: number) {
      const found = await Promise.all(
        providers.map((provider) => query(s.oldestKeys, { tenant, provider, limit })),
      )
      return found
        .flat()
        .map((row) => keyFromRow(row))
        .sort((a, b) => (a.issuedAt < b.issuedAt ? -1 : 1))
    },

    async overdue(query: Query, tenant: TenantId, late: Instant, limit: number) {
      const rows = await query(s.overdueFirst, { tenant, late, limit })
      return rows.map((row) => credentialFromRow(row))
    },

    async revokedSince(query: Query, tenant: TenantId, since: Instant, limit: number) {
      const rows = await query(s.revoked, { tenant, since, limit }, 'heavy')
      return rows.flatMap((row): RevokedKey[] =>
        row['caused_at'] === null
          ? []
          : [
              {
                refusedAt: row['refused_at'] as Instant,
                causedAt: row['caused_at'] as Instant,
              },
            ],
      )
    },

    async leavingsSince(query: Query, tenant: TenantId, since: Instant) {
      const [row] = await query(s.leavings, { tenant, since }, 'heavy')
      const open = Number(row?.['open'] ?? 0)
      return { open, complete: Number(row?.['total'] ?? 0) - open }
    },

    async openAccounts(
      query: Query,
      tenant: TenantId,
      of: 'imported' | 'all',
      after: string | null,
      limit: number,
    ): Promise<readonly ServiceAccount[]> {
      const statement = of === 'imported' ? s.imported : s.open
      const rows = await query(statement, { tenant, after: after ?? '', limit })
      return rows.map((row) => accountFromRow(row, codec))
    },
  }
}
