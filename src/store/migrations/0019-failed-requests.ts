import type { Migration } from './migrations.ts'

/** Writes to SCIM that failed, to be run again or signed off. */
export const failedRequests: Migration = {
  number: 19,
  name: '0019-failed-requests',
  statements: ({ text, tableSuffix }) => [
    `create table failed_request (
      tenant ${text} not null,
      id ${text} not null,
      client ${text} not null,
      fingerprint ${text} not null,
      method ${text} not null,
      route ${text} not null,
      target ${text},
      first_at ${text} not null,
      last_at ${text} not null,
      times integer not null,
      status integer not null,
      error ${text},
      scim_type ${text},
      obstacle ${text},
      state ${text} not null,
      decided_at ${text},
      decided_by ${text},
      note ${text},
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index failed_request_open on failed_request (tenant, client, fingerprint)
      where state = 'open'`,
    `create index failed_request_state on failed_request (tenant, state, id)`,
    `create index failed_request_client on failed_request (tenant, state, client, id)`,
    `create index failed_request_age on failed_request (last_at)`,
  ],
}
