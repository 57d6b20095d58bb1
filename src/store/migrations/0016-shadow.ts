import type { Migration } from './migrations.ts'

/** What enforcing would have done, and the first of two words that closing a protected account needs. */
export const shadow: Migration = {
  number: 16,
  name: '0016-shadow',
  statements: ({ text, tableSuffix }) => [
    `create table shadow (
      tenant ${text} not null,
      account ${text} not null,
      due_at ${text} not null,
      doc ${text} not null,
      version integer not null,
      primary key (tenant, account)
    )${tableSuffix}`,
    `create index shadow_due on shadow (due_at, account)`,
    `create table shadow_act (
      tenant ${text} not null,
      id ${text} not null,
      at ${text} not null,
      act ${text} not null,
      rule ${text} not null,
      account ${text} not null,
      user_name ${text} not null,
      owner ${text} not null,
      credential ${text},
      subject ${text} not null,
      cause ${text} not null,
      facts ${text} not null,
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index shadow_act_once on shadow_act (tenant, subject, act, cause)`,
    `create index shadow_act_at on shadow_act (tenant, at, id)`,
    `create table consent (
      tenant ${text} not null,
      account ${text} not null,
      act ${text} not null,
      client ${text} not null,
      client_name ${text} not null,
      person ${text},
      reason ${text},
      at ${text} not null,
      expires_at ${text} not null,
      primary key (tenant, account, act)
    )${tableSuffix}`,
  ],
}
