import type { Migration } from './migrations.ts'

/**
 * The tree over the audit log: its head, whose size is what two sequencers compete for, the nodes of
 * every eighth level, and what was signed. And what /metrics counts: few rows, however long the
 * journal grows.
 */
export const auditTree: Migration = {
  number: 7,
  name: '0007-audit-tree',
  statements: ({ text, tableSuffix }) => [
    `create table audit_head (
      tenant ${text} not null primary key,
      size integer not null,
      frontier ${text} not null,
      signed_size integer not null
    )${tableSuffix}`,
    `create table audit_node (
      tenant ${text} not null,
      level integer not null,
      place integer not null,
      hash ${text} not null,
      primary key (tenant, level, place)
    )${tableSuffix}`,
    `create table audit_checkpoint (
      tenant ${text} not null,
      size integer not null,
      root ${text} not null,
      note ${text} not null,
      at ${text} not null,
      primary key (tenant, size)
    )${tableSuffix}`,
    `create index audit_checkpoint_at on audit_checkpoint (tenant, at)`,
    `create index audit_action on audit (tenant, action, id)`,

    `create index operation_stuck on operation (tenant, id) where status = 'needsOperator'`,
    `create index operation_revoking on operation (created_at)
      where kind in ('leave', 'revoke', 'disable', 'retire')
        and status in ('queued', 'running', 'waiting', 'needsOperator')`,
  ],
}
