import type { Migration } from './migrations.ts'

/** What was answered to whom: replays of repeated requests, and the log of SCIM requests. */
export const ledger: Migration = {
  number: 4,
  name: '0004-ledger',
  statements: ({ text, real, tableSuffix }) => [
    `create table idempotency (
      tenant ${text} not null,
      client ${text} not null,
      scope ${text} not null,
      fingerprint ${text} not null,
      request ${text} not null,
      status integer,
      headers ${text},
      body ${text},
      stale_at ${text} not null,
      expires_at ${text} not null,
      primary key (tenant, client, scope)
    )${tableSuffix}`,
    `create index idempotency_expires on idempotency (expires_at)`,

    `create table scim_request (
      tenant ${text} not null,
      id ${text} not null,
      client ${text} not null,
      at ${text} not null,
      method ${text} not null,
      route ${text} not null,
      target ${text},
      query ${text},
      agent ${text},
      status integer not null,
      error ${text},
      scim_type ${text},
      body ${text},
      milliseconds ${real} not null,
      primary key (tenant, id)
    )${tableSuffix}`,
    `create index scim_request_client on scim_request (tenant, client, id)`,
    `create index scim_request_status on scim_request (tenant, status, id)`,
    `create index scim_request_at on scim_request (at)`,
  ],
}
