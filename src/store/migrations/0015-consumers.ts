import type { Migration } from './migrations.ts'

/** What consumers reported, and when Custody itself tried a key. */
export const consumers: Migration = {
  number: 15,
  name: '0015-consumers',
  statements: ({ text, tableSuffix }) => [
    `create table consumer_report (
      tenant ${text} not null,
      account ${text} not null,
      credential ${text} not null,
      consumer ${text} not null,
      kind ${text} not null,
      generation integer not null,
      at ${text} not null,
      reported_by ${text} not null,
      primary key (tenant, account, credential, consumer, kind)
    )${tableSuffix}`,
    `create table key_probe (
      tenant ${text} not null,
      credential ${text} not null,
      generation integer not null,
      at ${text} not null,
      primary key (tenant, credential, generation)
    )${tableSuffix}`,
  ],
}
