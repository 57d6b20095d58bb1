import type { Migration } from './migrations.ts'

/** Sixteen replicas, each with two groups of writes under way, have a shard each. */
const shards = 32
/** Beside the keys of the store's own locks, which are of one number: this one is the first of two. */
const lockSpace = 20_031

/**
 * PostgreSQL: a transaction has its shard of the counters to itself. The session's number chose it
 * before, and since a transaction moves several counters (0025), two sessions that shared a shard
 * waited for each other in a circle: 9 deadlocks in 8 s, and a p99 of 2 058 ms instead of 141 ms,
 * where two replicas did. Where no shard is free the first choice is shared, as before.
 *
 * SQLite: its own `lower` knows ASCII only, so that 0025 left names like `Émile` to be found by no
 * spelling.
 */
export const countedApart: Migration = {
  number: 26,
  name: '0026-counted-apart',
  readableFrom: 24,
  statements: ({ name }) =>
    name === 'sqlite'
      ? [
          `update resource set display_norm = custody_normalise(json_extract(doc, '$.displayName'))
            where type = 'person' and display_norm glob '*[^ -~]*'`,
        ]
      : [
          `create or replace function custody_count(text, text, text, integer) returns void
            language plpgsql as $custody$
            declare s integer := nullif(current_setting('custody.shard', true), '')::integer;
            begin
              if s is null then
                s := pg_backend_pid() % ${shards};
                for i in 0..${shards - 1} loop
                  if pg_try_advisory_xact_lock(${lockSpace}, (s + i) % ${shards}) then
                    s := (s + i) % ${shards};
                    exit;
                  end if;
                end loop;
                perform set_config('custody.shard', s::text, true);
              end if;
              insert into counter as c (tenant, type, directory, shard, total)
                values ($1, $2, $3, s, $4)
                on conflict (tenant, type, directory, shard)
                do update set total = c.total + excluded.total;
            end$custody$`,
        ],
}
