import type { Migration } from './migrations.ts'

/** The brakes that are on. */
export const brakes: Migration = {
  number: 8,
  name: '0008-brakes',
  statements: ({ text, tableSuffix }) => [
    `create table brake (
      tenant ${text} not null,
      name ${text} not null,
      subject ${text} not null,
      since ${text} not null,
      facts ${text} not null,
      primary key (tenant, name, subject)
    )${tableSuffix}`,
  ],
}
