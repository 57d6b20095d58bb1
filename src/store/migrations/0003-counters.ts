import type { Dialect } from '../dialect.ts'
import type { Migration } from './migrations.ts'

/** Rows that count the same things; they keep transactions that run side by side apart. */
const shards = 16

/**
 * How many resources there are, kept by triggers, so that no write can forget to count: the total
 * of a list of 1 000 000 costs 0.6–0.8 ms to count and microseconds to look up. Deleted resources
 * are kept but not counted.
 */
export const counters: Migration = {
  number: 3,
  name: '0003-counters',
  statements: ({ name, text, tableSuffix }) => [
    `create table counter (
      tenant ${text} not null,
      type ${text} not null,
      directory ${text} not null,
      shard integer not null,
      total integer not null,
      primary key (tenant, type, directory, shard)
    )${tableSuffix}`,
    `insert into counter (tenant, type, directory, shard, total)
      select tenant, type, coalesce(directory, ''), 0, count(*) from resource
      where deleted_at is null group by tenant, type, coalesce(directory, '')`,
    `insert into counter (tenant, type, directory, shard, total)
      select tenant, 'credential', '', 0, count(*) from credential group by tenant`,
    ...triggers[name],
  ],
}

const sqliteCount = (row: 'old' | 'new', type: string, directory: string, by: number): string =>
  `insert into counter (tenant, type, directory, shard, total)
    values (${row}.tenant, ${type}, ${directory}, 0, ${by})
    on conflict (tenant, type, directory, shard) do update set total = total + ${by};`

const sqliteResource = (row: 'old' | 'new', by: number): string =>
  sqliteCount(row, `${row}.type`, `coalesce(${row}.directory, '')`, by)

const postgresCount = `insert into counter as c (tenant, type, directory, shard, total)
  values ($1, $2, $3, pg_backend_pid() % ${shards}, $4)
  on conflict (tenant, type, directory, shard) do update set total = c.total + excluded.total`

/** The body of a function that `perform`s the count where the row counts. */
const moved = `(old.deleted_at is null) <> (new.deleted_at is null)
  or coalesce(old.directory, '') <> coalesce(new.directory, '')`

const triggers: Readonly<Record<Dialect['name'], readonly string[]>> = {
  sqlite: [
    `create trigger resource_added after insert on resource when new.deleted_at is null
      begin ${sqliteResource('new', 1)} end`,
    `create trigger resource_removed after delete on resource when old.deleted_at is null
      begin ${sqliteResource('old', -1)} end`,
    `create trigger resource_left after update of deleted_at, directory on resource
      when old.deleted_at is null and (${moved})
      begin ${sqliteResource('old', -1)} end`,
    `create trigger resource_came after update of deleted_at, directory on resource
      when new.deleted_at is null and (${moved})
      begin ${sqliteResource('new', 1)} end`,
    `create trigger credential_added after insert on credential
      begin ${sqliteCount('new', "'credential'", "''", 1)} end`,
    `create trigger credential_removed after delete on credential
      begin ${sqliteCount('old', "'credential'", "''", -1)} end`,
  ],
  postgres: [
    `create function custody_count(text, text, text, integer) returns void language sql as
      $custody$${postgresCount}$custody$`,
    `create function custody_count_resource() returns trigger language plpgsql as $custody$begin
      if tg_op <> 'INSERT' and old.deleted_at is null then
        perform custody_count(old.tenant, old.type, coalesce(old.directory, ''), -1);
      end if;
      if tg_op <> 'DELETE' and new.deleted_at is null then
        perform custody_count(new.tenant, new.type, coalesce(new.directory, ''), 1);
      end if;
      return null;
    end$custody$`,
    `create function custody_count_credential() returns trigger language plpgsql as $custody$begin
      if tg_op = 'INSERT' then perform custody_count(new.tenant, 'credential', '', 1);
      else perform custody_count(old.tenant, 'credential', '', -1);
      end if;
      return null;
    end$custody$`,
    `create trigger resource_counted after insert or delete on resource
      for each row execute function custody_count_resource()`,
    `create trigger resource_moved after update of deleted_at, directory on resource
      for each row when (${moved}) execute function custody_count_resource()`,
    `create trigger credential_counted after insert or delete on credential
      for each row execute function custody_count_credential()`,
  ],
}
