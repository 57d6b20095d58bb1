import type { Migration } from './migrations.ts'

/** Every table with a tenant. One that comes later brings `fenced(table)` in its own migration. */
const tables = [
  'resource',
  'grp',
  'departure',
  'member',
  'credential',
  'credential_group',
  'issued_key',
  'principal',
  'operation',
  'audit',
  'audit_head',
  'audit_node',
  'audit_checkpoint',
  'client',
  'client_token',
  'issued_token',
  'counter',
  'idempotency',
  'scim_request',
  'failed_request',
  'directory_move',
  'moved',
  'attribute_sighting',
  'brake',
  'leaving',
  'approval',
  'approval_item',
  'finding',
  'sealed',
  'task',
  'task_evidence',
  'consumer_report',
  'key_probe',
  'shadow',
  'shadow_act',
  'consent',
  'directory_check',
]

/** Null: all tenants. A subquery that depends on no row is asked once per statement, not per row. */
const said = `(select nullif(nullif(current_setting('custody.tenant', true), ''), '*'))`

/**
 * Keeps a table's rows apart by tenant: what `custody.tenant` says is seen and written, `*` says all
 * of them. Unset and empty say all of them, too: that is what connections of the version before
 * have, which still serve during an upgrade, and an administrator's.
 */
export function fenced(table: string): readonly string[] {
  return [
    // One equation: with OR the planner guessed worse, and a page of 100 took 1.5 times as long.
    `create policy custody_tenant on ${table} using (tenant = coalesce(${said}, tenant))`,
    `alter table ${table} enable row level security`,
    // The owner of the tables is whom Custody connects as.
    `alter table ${table} force row level security`,
  ]
}

/** PostgreSQL's row security as a second fence between tenants; SQLite has no such thing. */
export const tenantFence: Migration = {
  number: 22,
  name: '0022-tenant-fence',
  statements: ({ name }) => (name === 'postgres' ? tables.flatMap(fenced) : []),
}
