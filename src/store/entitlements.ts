import { sql } from 'kysely'
import type { ScopeGrant } from '../domain/credential.ts'
import type { TenantId } from '../domain/ids.ts'
import { around } from './membership.ts'
import { arg, run, statement, type Query, type Row, type Sql, type Steps } from './sql.ts'
import type { DuePage } from './store.ts'

/** The reads of `store.ts` about groups that grant scopes. */
export interface EntitlementReads {
  /**
   * Ids of the groups that a person, a service account or a group is in, nested ones included, and
   * of the group itself. A service account is in groups of any directory, all others of their own.
   */
  groupsHolding(tenant: TenantId, member: string): Promise<readonly string[]>
  /** Credentials that one of the groups grants scopes to; by id, strictly after `after`. */
  grantedThrough(
    tenant: TenantId,
    groups: readonly string[],
    after: string | null,
    limit: number,
  ): Promise<readonly string[]>
  /** Credentials of all tenants that some group grants scopes to. */
  groupGranted(after: string | null, limit: number): Promise<DuePage>
}

function statements({ db, dialect }: Sql) {
  const compiled = (query: ReturnType<typeof sql>) =>
    statement({ compile: () => query.compile(db) })
  const tenant = sql`${arg('tenant')}`
  const start = sql`${arg('start')}`
  const given = dialect.json.elements(dialect.json.document(sql`${arg('list')}`), [], 'e')
  const limit = sql`limit ${arg<number>('limit')}`
  return {
    holding: compiled(sql`select id from grp
      where tenant = ${tenant} and deleted_at is null and id in (${around(start, tenant)})
        and directory = coalesce(
          (select p.directory from resource as p where p.tenant = grp.tenant and p.id = ${start}),
          (select g.directory from grp as g where g.tenant = grp.tenant and g.id = ${start}),
          directory)
      order by id`),
    through: compiled(sql`select distinct credential from credential_group
      where tenant = ${tenant} and credential > ${arg('after')}
        and group_id in (select ${given.plain('text')} from ${given.from})
      order by credential ${limit}`),
    all: compiled(sql`select distinct credential, tenant from credential_group
      where credential > ${arg('after')} order by credential ${limit}`),
    forget: compiled(sql`delete from credential_group
      where tenant = ${tenant} and credential = ${arg('credential')}`),
    depend: compiled(sql`insert into credential_group (tenant, group_id, credential)
      values (${tenant}, ${arg('group')}, ${arg('credential')})
      on conflict (tenant, group_id, credential) do nothing`),
  }
}

/** Which credentials depend on what groups. */
export function entitlementRoom(context: Sql) {
  const s = statements(context)
  return {
    async groupsHolding(query: Query, tenant: TenantId, member: string) {
      const rows = await query(s.holding, { tenant, start: member })
      return rows.map((row) => row['id'] as string)
    },
    async grantedThrough(
      query: Query,
      tenant: TenantId,
      groups: readonly string[],
      after: string | null,
      limit: number,
    ) {
      const rows = await query(s.through, {
        tenant,
        list: JSON.stringify(groups),
        after: after ?? '',
        limit,
      })
      return rows.map((row) => row['credential'] as string)
    },
    async groupGranted(query: Query, after: string | null, limit: number): Promise<DuePage> {
      const rows = await query(s.all, { after: after ?? '', limit })
      return {
        rows: rows.map((row) => ({
          tenant: row['tenant'] as TenantId,
          id: row['credential'] as string,
        })),
        next: rows.length < limit ? null : ((rows.at(-1)?.['credential'] as string) ?? null),
      }
    },
  }
}

/** Keeps the index of dependents in step with what a credential says; `row` is its own. */
export function dependents(context: Sql) {
  const s = statements(context)
  return function* dependsOn(row: Row, grants: readonly ScopeGrant[]): Steps<void> {
    const { tenant, id } = row
    // Rows of one that names no group any more cost a look now and then, a delete in each write more.
    if (grants.length === 0) return
    yield* run(s.forget, { tenant: tenant!, credential: id! })
    if (row['status'] === 'revoked' || row['status'] === 'released') return
    for (const { group } of grants) {
      yield* run(s.depend, { tenant: tenant!, credential: id!, group })
    }
  }
}
