import type { Migration } from './migrations.ts'

/** The last comparison with each directory itself. */
export const directoryChecks: Migration = {
  number: 18,
  name: '0018-directory-checks',
  statements: ({ text, tableSuffix }) => [
    `create table directory_check (
      tenant ${text} not null,
      directory ${text} not null,
      id ${text} not null,
      at ${text} not null,
      complete integer not null,
      agreeing integer not null,
      total integer not null,
      report ${text} not null,
      primary key (tenant, directory)
    )${tableSuffix}`,
  ],
}
