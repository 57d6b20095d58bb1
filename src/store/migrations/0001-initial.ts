import type { Migration } from './migrations.ts'

/** Plans are made for a database of this size with one tenant; a small one is fast with any. */
const large = 1_000_000

/**
 * Everything an owner, an account and a credential need. Partial indexes keep the sweeps and the
 * journal small: they hold what is open, not what has ever been.
 */
export const initial: Migration = {
  number: 1,
  name: '0001-initial',
  statements: ({ text, real, tableSuffix, statistics }) => [
    `create table resource (
      tenant ${text} not null,
      id ${text} not null,
      type ${text} not null check (type in ('person', 'account')),
      directory ${text},
      client ${text} not null,
      user_name ${text} not null,
      user_name_norm ${text} not null,
      external_id ${text},
      active integer not null,
      owner_type ${text},
      owner_id ${text},
      status ${text},
      environment ${text},
      expires_at ${text},
      disable_at ${text},
      delete_at ${text},
      deleted_at ${text},
      version integer not null,
      created_at ${text} not null,
      updated_at ${text} not null,
      modified_at ${text} not null,
      doc ${text} not null,
      facts ${text} not null,
      credentials ${text},
      credentials_rev integer not null default 0,
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index resource_user_name on resource (tenant, user_name_norm, type)
      where deleted_at is null`,
    `create unique index resource_external_id on resource (tenant, external_id, client, type)
      where deleted_at is null and external_id is not null`,
    // Pages and totals walk this narrow index: OFFSET over the wide rows costs five times as much.
    `create index resource_list on resource (tenant, id, type, directory, client, owner_id, deleted_at)
      where deleted_at is null`,
    `create index resource_active on resource (tenant, active, id, deleted_at)
      where deleted_at is null`,
    `create index resource_status on resource (tenant, status, id) where status is not null`,
    `create index resource_owner on resource (tenant, owner_id, id) where owner_id is not null`,
    `create index resource_expires on resource (tenant, expires_at) where expires_at is not null`,
    `create index resource_open on resource (id, tenant, owner_id, status, disable_at)
      where status in ('provisioning', 'active', 'orphaned')`,
    `create index resource_open_expires on resource (expires_at)
      where status in ('provisioning', 'active', 'orphaned')`,
    `create index resource_deletable on resource (delete_at)
      where status in ('disabled', 'expired', 'retired') and delete_at is not null`,

    `create table credential (
      tenant ${text} not null,
      id ${text} not null,
      account ${text} not null,
      provider ${text} not null,
      provider_norm ${text} not null,
      kind ${text} not null,
      display_name ${text},
      scopes ${text} not null,
      readers ${text} not null,
      sink ${text} not null,
      path ${text} not null,
      status ${text} not null,
      generation integer not null,
      key_id ${text},
      previous_key_id ${text},
      fingerprint ${text},
      secret_ref ${text},
      expires_at ${text} not null,
      rotate_every ${real},
      overlap ${real},
      issued_at ${text},
      rotate_after ${text},
      last_rotated_at ${text},
      last_used_at ${text},
      refused_at ${text},
      settled_at ${text},
      last_error ${text},
      created_at ${text} not null,
      updated_at ${text} not null,
      version integer not null,
      doc ${text} not null,
      summary ${text} not null,
      primary key (tenant, id),
      foreign key (tenant, account) references resource (tenant, id)
    )${tableSuffix}`,
    `create unique index credential_path on credential (tenant, sink, path)
      where status not in ('revoked', 'failed')`,
    `create index credential_account on credential (tenant, account, id)`,
    `create index credential_provider on credential (tenant, provider_norm, id)`,
    `create index credential_kind on credential (tenant, kind, id)`,
    `create index credential_status on credential (tenant, status, id)`,
    `create index credential_expires on credential (expires_at)
      where status in ('active', 'superseded')`,
    `create index credential_rotation on credential (rotate_after)
      where status = 'active' and rotate_after is not null`,

    `create table issued_key (
      tenant ${text} not null,
      credential ${text} not null,
      account ${text} not null,
      provider ${text} not null,
      generation integer not null,
      key_id ${text} not null,
      fingerprint ${text} not null,
      sink_version ${text},
      status ${text} not null,
      issued_at ${text} not null,
      activated_at ${text},
      superseded_at ${text},
      disabled_at ${text},
      refused_at ${text},
      settled_at ${text},
      outcome ${text},
      deleted_at ${text},
      primary key (tenant, credential, generation),
      foreign key (tenant, credential) references credential (tenant, id)
    )${tableSuffix}`,
    `create index issued_key_account on issued_key (tenant, account, credential, generation)`,

    `create table principal (
      tenant ${text} not null,
      account ${text} not null,
      provider ${text} not null,
      external ${text},
      state ${text} not null,
      created integer not null,
      updated_at ${text} not null,
      primary key (tenant, account, provider),
      foreign key (tenant, account) references resource (tenant, id)
    )${tableSuffix}`,

    `create table operation (
      tenant ${text} not null,
      id ${text} not null primary key,
      kind ${text} not null,
      rank integer not null,
      subject_type ${text} not null,
      subject ${text} not null,
      account ${text},
      provider ${text},
      steps ${text} not null,
      cursor integer not null,
      attempt integer not null,
      status ${text} not null,
      run_at ${text} not null,
      due_at ${text},
      lease_worker ${text},
      lease_until ${text},
      fence integer not null,
      memo ${text} not null,
      actor ${text} not null,
      cause ${text} not null,
      failure ${text},
      created_at ${text} not null,
      updated_at ${text} not null,
      finished_at ${text}
    )${tableSuffix}`,
    `create unique index operation_open_subject on operation (tenant, subject)
      where status in ('queued', 'running', 'waiting', 'needsOperator')`,
    `create index operation_open_account on operation (tenant, account, due_at)
      where status in ('queued', 'running', 'waiting', 'needsOperator')`,
    `create index operation_due on operation (due_at, id) where due_at is not null`,
    `create index operation_in_flight on operation (tenant, account, lease_until)
      where status = 'cancelled' and lease_until is not null`,
    `create index operation_tenant on operation (tenant, id)`,
    `create index operation_subject on operation (tenant, subject, id)`,
    `create index operation_account on operation (tenant, account, id)`,
    `create index operation_cause on operation (tenant, cause, id)`,

    `create table audit (
      tenant ${text} not null,
      id ${text} not null,
      seq integer,
      at ${text} not null,
      actor ${text} not null,
      action ${text} not null,
      target_type ${text} not null,
      target ${text} not null,
      decision ${text},
      operation ${text},
      facts ${text} not null,
      leaf ${text} not null,
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index audit_seq on audit (tenant, seq) where seq is not null`,
    `create index audit_unsequenced on audit (tenant, id) where seq is null`,
    `create index audit_target on audit (tenant, target, id)`,
    `create index audit_operation on audit (tenant, operation, id) where operation is not null`,

    `create table slot (
      job ${text} not null,
      slot ${text} not null,
      worker ${text} not null,
      at ${text} not null,
      primary key (job, slot)
    )${tableSuffix}`,

    `create table client (
      tenant ${text} not null,
      id ${text} not null primary key,
      name ${text} not null,
      role ${text} not null,
      dialect ${text} not null,
      directory ${text},
      person ${text},
      created_at ${text} not null,
      revoked_at ${text}
    )${tableSuffix}`,
    `create index client_tenant on client (tenant, id)`,

    `create table client_token (
      tenant ${text} not null,
      id ${text} not null primary key,
      client ${text} not null references client (id),
      hash ${text} not null,
      created_at ${text} not null,
      expires_at ${text},
      last_used_at ${text},
      revoked_at ${text}
    )${tableSuffix}`,
    `create index client_token_client on client_token (client, id)`,

    `create table issued_token (
      tenant ${text} not null,
      id ${text} not null primary key,
      provider ${text} not null,
      account ${text} not null,
      credential ${text} not null,
      generation integer not null,
      hash ${text} not null,
      scopes ${text} not null,
      active integer not null,
      created_at ${text} not null,
      expires_at ${text} not null,
      last_used_at ${text},
      foreign key (tenant, credential) references credential (tenant, id)
    )${tableSuffix}`,
    `create index issued_token_account on issued_token (account, provider, id)`,
    `create index issued_token_credential on issued_token (tenant, credential)`,

    `create table meta (
      key ${text} not null primary key,
      value ${text} not null
    )${tableSuffix}`,

    ...statistics(large, {
      resource: {
        sqlite_autoindex_resource_1: [large, 1],
        resource_user_name: [large, 2, 1],
        resource_external_id: [large, 2, 1, 1],
        resource_list: [large, 1, 1, 1, 1, 1, 1],
        resource_active: [large, large / 2, 1, 1],
        resource_status: [large, large / 5, 1],
        resource_owner: [large, 10, 1],
        resource_expires: [large, 2],
      },
      credential: {
        sqlite_autoindex_credential_1: [large, 1],
        credential_account: [large, 3, 1],
        credential_provider: [large, large / 5, 1],
        credential_kind: [large, large / 5, 1],
        credential_status: [large, large / 5, 1],
      },
    }),
  ],
}
