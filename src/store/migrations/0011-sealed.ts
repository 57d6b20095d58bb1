import type { Migration } from './migrations.ts'

/** Secrets that ending their key needs, sealed until that key has ended. */
export const sealed: Migration = {
  number: 11,
  name: '0011-sealed',
  statements: ({ text, tableSuffix }) => [
    `create table sealed (
      tenant ${text} not null,
      credential ${text} not null,
      key_id ${text} not null,
      envelope ${text} not null,
      expires_at ${text} not null,
      primary key (tenant, credential, key_id)
    )${tableSuffix}`,
    `create index sealed_expiry on sealed (expires_at)`,
  ],
}
