import type { Migration } from './migrations.ts'

/**
 * Groups in a table of their own, for a name shares no rule with a `userName`, and memberships as
 * rows indexed both ways: adding one member to a group of 50 000 writes one row.
 */
export const groups: Migration = {
  number: 2,
  name: '0002-groups',
  statements: ({ text, tableSuffix }) => [
    `create table grp (
      tenant ${text} not null,
      id ${text} not null,
      directory ${text} not null,
      client ${text} not null,
      display_name ${text} not null,
      display_name_norm ${text} not null,
      external_id ${text},
      emptied_at ${text},
      deleted_at ${text},
      version integer not null,
      created_at ${text} not null,
      updated_at ${text} not null,
      doc ${text} not null,
      summary ${text} not null,
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index grp_display_name on grp (tenant, directory, display_name_norm)
      where deleted_at is null`,
    `create index grp_name on grp (tenant, display_name_norm, id) where deleted_at is null`,
    `create unique index grp_external_id on grp (tenant, external_id, client)
      where deleted_at is null and external_id is not null`,
    `create table member (
      tenant ${text} not null,
      group_id ${text} not null,
      member_id ${text} not null,
      type ${text} not null check (type in ('User', 'Group')),
      display ${text},
      live integer not null,
      doc ${text} not null,
      primary key (tenant, group_id, member_id),
      foreign key (tenant, group_id) references grp (tenant, id)
    )${tableSuffix}`,
    `create index member_of on member (tenant, member_id, group_id)`,
    // Whether anybody active is left is one look, however many have left: 50 000 people who leave one
    // after the other would otherwise be counted 50 000 times.
    `create index member_live on member (tenant, group_id) where live = 1`,
    // Nested groups are few among many people: what is nested is found without reading the people.
    `create index member_nested on member (tenant, group_id, member_id) where type = 'Group'`,
  ],
}
