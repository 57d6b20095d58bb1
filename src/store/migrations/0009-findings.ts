import type { Migration } from './migrations.ts'

/**
 * Where a provider's inventory and the journal disagree, which journalled keys an inventory showed,
 * and the indexes by which a page of it is compared with the journal.
 */
export const findings: Migration = {
  number: 9,
  name: '0009-findings',
  statements: ({ text, tableSuffix }) => [
    `create table finding (
      tenant ${text} not null,
      id ${text} not null,
      kind ${text} not null,
      provider ${text} not null,
      subject ${text} not null,
      account ${text},
      credential ${text},
      key_id ${text},
      facts ${text} not null,
      status ${text} not null,
      first_seen_at ${text} not null,
      last_seen_at ${text} not null,
      resolved_at ${text},
      acceptance ${text},
      run ${text} not null,
      version integer not null,
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index finding_unresolved on finding (provider, subject, kind)
      where status in ('open', 'accepted')`,
    `create index finding_unresolved_provider on finding (provider, id)
      where status in ('open', 'accepted')`,
    `create index finding_kind on finding (tenant, kind, id)`,
    `create index finding_provider on finding (tenant, provider, id)`,
    `create index finding_status on finding (tenant, status, id)`,

    `create table key_sighting (
      provider ${text} not null,
      key_id ${text} not null,
      run ${text} not null,
      active integer not null,
      at ${text} not null,
      missed_run ${text},
      missed_at ${text},
      primary key (provider, key_id)
    )${tableSuffix}`,

    `create index issued_key_provider on issued_key (provider, key_id)`,
    `create index issued_key_live on issued_key (provider, key_id)
      where status in ('active', 'superseded')`,
    `create index issued_key_deleted on issued_key (provider, deleted_at)
      where deleted_at is not null`,
    `create index principal_external on principal (provider, external)`,
    `create index issued_token_provider on issued_token (provider, id)`,
  ],
}
