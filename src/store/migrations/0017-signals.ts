import type { Migration } from './migrations.ts'

/**
 * When people will be gone. Few of those who are there have a date, so the sweep that asks who is near
 * it reads a list of them alone. What was said of a
 * leaving stands among a person's facts. Who can no longer read a secret waits as a row of its own.
 */
export const signals: Migration = {
  number: 17,
  name: '0017-signals',
  statements: ({ text, tableSuffix }) => [
    `alter table resource add column leaves_at ${text}`,
    `create index resource_leaving on resource (leaves_at, id)
      where type = 'person' and active = 1 and leaves_at is not null`,
    `create table departure (
      tenant ${text} not null,
      member ${text} not null,
      grp ${text} not null,
      at ${text} not null,
      due_at ${text} not null,
      primary key (tenant, member, grp)
    )${tableSuffix}`,
    `create index departure_due on departure (due_at, member, grp)`,
    `create index departure_from on departure (tenant, grp, at)`,
    `create index credential_readers on credential (tenant, id) where readers <> '[]'`,
  ],
}
