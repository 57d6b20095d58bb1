import type { Migration } from './migrations.ts'

const open = `status in ('provisioning', 'active', 'orphaned')`

/**
 * What the sweeps walk. Each index holds all that its sweep reads of a row: a full look at a million
 * open accounts stays within it, and a page after a date begins where the last one ended.
 */
export const sweeps: Migration = {
  number: 10,
  name: '0010-sweeps',
  statements: ({ name, text }) => [
    // Whom an orphaned account waits for; that one may leave, too.
    `alter table resource add column pending_owner_id ${text}`,
    `update resource set pending_owner_id = ${
      name === 'sqlite'
        ? `json_extract(facts, '$.pendingOwner.id')`
        : `cast(facts as jsonb) #>> '{pendingOwner,id}'`
    } where status = 'orphaned'`,
    // The days before its end of which an event has told, 99 before the first.
    `alter table resource add column warned integer not null default 99`,
    `alter table credential add column warned integer not null default 99`,

    `drop index resource_open`,
    `create index resource_open on resource (id, tenant, owner_type, owner_id, status, disable_at)
      where ${open}`,
    `create index resource_open_owner on resource (tenant, owner_id, id) where ${open}`,
    `create index resource_pending on resource (tenant, pending_owner_id, id)
      where status = 'orphaned' and pending_owner_id is not null`,
    `create index resource_overdue on resource (disable_at, id)
      where ${open} and disable_at is not null`,
    `drop index resource_open_expires`,
    `create index resource_open_expires on resource (expires_at, id, tenant, status) where ${open}`,
    `create index resource_warning on resource (warned, expires_at, id, tenant, status)
      where ${open}`,
    `drop index resource_deletable`,
    `create index resource_deletable on resource (delete_at, id)
      where status in ('disabled', 'expired', 'retired') and delete_at is not null`,
    `create index resource_gone on resource (updated_at, id, tenant)
      where type = 'person' and active = 0`,
    `create index grp_gone on grp ((coalesce(emptied_at, deleted_at)), id, tenant)
      where coalesce(emptied_at, deleted_at) is not null`,

    `drop index credential_expires`,
    `create index credential_expires on credential (expires_at, id)
      where status in ('active', 'superseded')`,
    `create index credential_warning on credential (warned, expires_at, id)
      where status in ('active', 'superseded')`,
    `drop index credential_rotation`,
    `create index credential_rotation on credential (rotate_after, id)
      where status = 'active' and rotate_after is not null`,
    `create index credential_planned on credential (id, tenant, status, rotate_after)
      where status in ('active', 'disabled') and rotate_after is not null`,
    `create index issued_key_superseded on issued_key (issued_at, credential, tenant)
      where status = 'superseded'`,
  ],
}
