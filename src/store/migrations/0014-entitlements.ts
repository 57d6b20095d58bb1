import type { Migration } from './migrations.ts'

/**
 * What a credential may do as asked, as groups grant it and as it was really given; and which
 * credentials a group grants to, so that nobody who leaves one has to be looked for.
 */
export const entitlements: Migration = {
  number: 14,
  name: '0014-entitlements',
  statements: ({ text, tableSuffix }) => [
    `alter table credential add column scopes_from ${text} not null default '[]'`,
    `alter table credential add column granted_scopes ${text}`,
    `alter table credential add column entitlement ${text}`,
    `update credential set granted_scopes = scopes where generation > 0`,
    `create table credential_group (
      tenant ${text} not null,
      group_id ${text} not null,
      credential ${text} not null,
      primary key (tenant, group_id, credential),
      foreign key (tenant, credential) references credential (tenant, id)
    )${tableSuffix}`,
    `create index credential_group_credential on credential_group (credential, tenant)`,
    // The same as of 0006, with one kind more.
    `drop index operation_due_urgent`,
    `create index operation_due_urgent on operation (due_at, id)
      where due_at is not null and kind in ('leave', 'revoke', 'disable', 'retire', 'rescope')`,
  ],
}
