import type { Migration } from './migrations.ts'

/** Which attributes each client sends and in which form: counted as they come, so no report reads a log. */
export const sightings: Migration = {
  number: 5,
  name: '0005-sightings',
  statements: ({ text, tableSuffix }) => [
    `create table attribute_sighting (
      tenant ${text} not null,
      client ${text} not null,
      resource ${text} not null,
      path ${text} not null,
      form ${text} not null,
      seen integer not null,
      first_at ${text} not null,
      last_at ${text} not null,
      operation ${text} not null,
      primary key (tenant, client, resource, path, form)
    )${tableSuffix}`,
    `create index attribute_sighting_last on attribute_sighting (last_at)`,
  ],
}
