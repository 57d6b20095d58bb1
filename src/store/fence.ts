import type { ClientBase } from 'pg'
import { escapeLiteral } from 'pg'
import type { TenantId } from '../domain/ids.ts'

/**
 * Whose rows a connection to PostgreSQL sees and may write: the setting `custody.tenant`, which the
 * policies of migration 0022 compare with each row. It is said by whoever asks for a connection, not
 * by the statement that runs on it: a statement whose condition was forgotten still shows nothing
 * foreign.
 */
export type Scope = TenantId | typeof everyTenant

/** Said in so many words by what looks at all tenants: sweeps, claims, the sequencer, vitals. */
export const everyTenant = '*'
/** What a connection has until somebody says more: it sees nothing. */
export const noTenant = '-'

/** Words of the setting itself, which no tenant can be called. */
const reserved: readonly string[] = ['', everyTenant, noTenant]

/** @param extent `transaction`: undone with it, whether it is kept or not */
export function sayScope(scope: Scope, extent: 'session' | 'transaction'): string {
  const local = extent === 'transaction' ? 'local ' : ''
  return `set ${local}custody.tenant = ${escapeLiteral(scope)}`
}

/** @throws for a tenant that would widen or end the scope: a bug of ours, its rows are never written */
export function scopeOf(tenant: TenantId): Scope {
  if (reserved.includes(tenant)) throw new Error(`"${tenant}" cannot be a tenant`)
  return tenant
}

/** Whether the database itself keeps tenants apart, beside the conditions of our statements. */
export type Fence = { readonly state: 'on' } | { readonly state: 'off'; readonly reason: string }

/** What was found when the store was opened, for `custody doctor` and the log. */
export interface StoreFacts {
  readonly engine: 'SQLite' | 'PostgreSQL'
  /** Of the server; null for SQLite, which comes with Custody. */
  readonly version: string | null
  readonly fence: Fence
}

export const sqliteFacts: StoreFacts = {
  engine: 'SQLite',
  version: null,
  fence: { state: 'off', reason: 'SQLite has no row security' },
}

const factsQuery = `select current_setting('server_version') as version, rolname, rolsuper,
    rolbypassrls,
    (select string_agg(c.relname, ', ' order by c.relname)
      from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.relnamespace = (select relnamespace from pg_class where oid = to_regclass('migration'))
        and c.relkind in ('r', 'p') and a.attname = 'tenant' and not a.attisdropped
        and not row_security_active(c.oid)) as unfenced
  from pg_roles where rolname = current_user`

interface FactsRow {
  readonly version: string
  readonly rolname: string
  readonly rolsuper: boolean
  readonly rolbypassrls: boolean
  readonly unfenced: string | null
}

/** Asks the server, as the role that this connection has. */
export async function postgresFacts(client: ClientBase): Promise<StoreFacts> {
  const { rows } = await client.query<FactsRow>(factsQuery)
  const row = rows[0]!
  return { engine: 'PostgreSQL', version: row.version, fence: fenceOf(row) }
}

function fenceOf({ rolname, rolsuper, rolbypassrls, unfenced }: FactsRow): Fence {
  const unbound = rolsuper ? 'is a superuser' : rolbypassrls ? 'has BYPASSRLS' : null
  if (unbound !== null) {
    const reason = `the role ${rolname} ${unbound}, and row security does not bind it`
    return { state: 'off', reason }
  }
  return unfenced === null
    ? { state: 'on' }
    : { state: 'off', reason: `row security is off for ${unfenced}` }
}

/** A tenant never changes under an id; of so many tokens the tenant is remembered. */
const rememberedMax = 10_000

/**
 * What is found by its id alone is sought among all tenants once, and in the tenant's own scope from
 * then on: authenticating would else change a connection's scope to and fro with each request.
 */
export function tenantMemory() {
  const tenants = new Map<string, TenantId>()
  return async function find<T>(
    id: string,
    read: (scope: Scope) => Promise<T | null>,
    tenantOf: (found: T) => TenantId,
  ): Promise<T | null> {
    const known = tenants.get(id)
    if (known !== undefined) return read(scopeOf(known))
    const found = await read(everyTenant)
    if (found !== null) {
      if (tenants.size >= rememberedMax) tenants.clear()
      tenants.set(id, tenantOf(found))
    }
    return found
  }
}
