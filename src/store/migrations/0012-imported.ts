import type { Migration } from './migrations.ts'

/**
 * By what an import finds people (their address) and what a vendor's closing walks (its accounts).
 * Addresses of before are taken as they stand: the next write of a person normalises them.
 */
export const imported: Migration = {
  number: 12,
  name: '0012-imported',
  statements: ({ name, text }) => [
    `alter table resource add column email_norm ${text}`,
    `alter table resource add column vendor ${text}`,
    `update resource set email_norm = lower(${
      name === 'sqlite'
        ? `json_extract(doc, '$.emails[0].value')`
        : `cast(doc as jsonb) #>> '{emails,0,value}'`
    }) where type = 'person'`,
    `create index resource_email on resource (tenant, email_norm, id)
      where email_norm is not null`,
    `create index resource_vendor on resource (tenant, vendor, id) where vendor is not null`,
  ],
}
