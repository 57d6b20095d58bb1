import type { Migration } from './migrations.ts'

/** Which processes there are, and which of them does what only one may do. */
export const replicas: Migration = {
  number: 21,
  name: '0021-replicas',
  statements: ({ text, tableSuffix }) => [
    `create table replica (
      id ${text} not null primary key,
      version ${text} not null,
      roles ${text} not null,
      policy ${text} not null,
      started_at ${text} not null,
      seen_at ${text} not null,
      clock_offset integer not null
    )${tableSuffix}`,
    `create table leader (
      job ${text} not null primary key,
      holder ${text} not null,
      fence integer not null,
      lease_until ${text} not null
    )${tableSuffix}`,
  ],
}
