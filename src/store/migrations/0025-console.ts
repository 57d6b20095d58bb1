import type { Dialect } from '../dialect.ts'
import type { Migration } from './migrations.ts'

/**
 * Something that is counted: under which name, of which rows, and by what. What has an end is counted
 * by the day of it: a heat map of a year, or all that ends within 90 days, is then a sum of days.
 */
interface Facet {
  readonly type: string
  readonly table: 'resource' | 'credential'
  /** The columns that a change has to touch for the count to move. */
  readonly of: string
  readonly counts: (row: string) => string
  readonly key: (row: string) => string
}

const facets: readonly Facet[] = [
  {
    type: 'accountStatus',
    table: 'resource',
    of: 'status',
    counts: (row) => `${row}.type = 'account'`,
    key: (row) => `${row}.status`,
  },
  {
    type: 'accountEnds',
    table: 'resource',
    of: 'status, expires_at',
    counts: (row) =>
      `(${row}.type = 'account' and ${row}.status in ('provisioning', 'active', 'orphaned'))`,
    key: (row) => `substr(${row}.expires_at, 1, 10)`,
  },
  {
    type: 'credentialStatus',
    table: 'credential',
    of: 'status, provider',
    counts: () => '1 = 1',
    // No status has a space in it.
    key: (row) => `${row}.provider || ' ' || ${row}.status`,
  },
  {
    type: 'credentialEnds',
    table: 'credential',
    of: 'status, expires_at',
    counts: (row) => `${row}.status in ('active', 'superseded')`,
    key: (row) => `substr(${row}.expires_at, 1, 10)`,
  },
]

/** Those facets counted from the rows, as the triggers keep them. */
export const recountedFacets: string = facets
  .map(
    ({ type, table, counts, key }) =>
      `select tenant, '${type}' as type, ${key(table)} as directory, count(*) as n
        from ${table} where ${counts(table)} group by tenant, ${key(table)}`,
  )
  .join(' union all ')

/**
 * What the console asks: how many accounts and credentials there are in which state and end on which
 * day, kept by triggers; and indexes for its lists, each in the order that it is paged in.
 */
export const consoleReads: Migration = {
  number: 25,
  name: '0025-console',
  readableFrom: 24,
  statements: ({ name, text }) => {
    const fact = (path: string): string =>
      name === 'sqlite'
        ? `json_extract(facts, '$.${path}')`
        : `cast(facts as jsonb) #>> '{${path.replace('.', ',')}}'`
    const displayName =
      name === 'sqlite'
        ? `json_extract(doc, '$.displayName')`
        : `cast(doc as jsonb) ->> 'displayName'`
    const isImported =
      name === 'sqlite' ? `${fact('imported')} = 1` : `${fact('imported')} = 'true'`
    return [
      // In ASCII only on SQLite; 0026 puts the others right.
      `alter table resource add column display_norm ${text}`,
      `alter table resource add column imported integer not null default 0`,
      `update resource set display_norm = lower(${displayName}) where type = 'person'`,
      `update resource set imported = 1 where type = 'account' and ${isImported}`,
      `update resource set pending_owner_id = ${fact('pendingOwner.id')}
        where type = 'account' and pending_owner_id is null and ${fact('pendingOwner.id')} is not null`,

      // People and accounts lie in one table: a page of the ones must not walk past all the others.
      `create index resource_type on resource (tenant, type, id)`,
      `create index resource_name on resource (tenant, type, user_name_norm, id)`,
      `create index resource_display on resource (tenant, display_norm, id)
        where display_norm is not null`,
      `create index resource_client on resource (tenant, client, id) where type = 'account'`,
      `create index resource_transfer on resource (tenant, id, pending_owner_id)
        where pending_owner_id is not null`,
      `create index resource_imported on resource (tenant, id) where imported = 1`,
      `create index resource_ends on resource (tenant, expires_at, id)
        where status in ('provisioning', 'active', 'orphaned')`,
      `create index issued_key_refused on issued_key (tenant, refused_at)
        where refused_at is not null`,
      `create index operation_status on operation (tenant, status, id) where status <> 'succeeded'`,
      `create index operation_leaves on operation (tenant, id) where kind = 'leave'`,

      `delete from counter where type in (${facets.map(({ type }) => `'${type}'`).join(', ')})`,
      ...facets.map(
        ({ type, table, counts, key }) =>
          `insert into counter (tenant, type, directory, shard, total)
            select tenant, '${type}', ${key(table)}, 0, count(*) from ${table}
            where ${counts(table)} group by tenant, ${key(table)}`,
      ),
      ...facets.flatMap(triggers[name]),
      ...(name === 'sqlite' ? sqliteStatistics : []),
    ]
  },
}

/** As in 0001: without them SQLite would take a type, or a client, for as selective as a name. */
const sqliteStatistics: readonly string[] = [
  ...Object.entries({
    resource_type: '1000000 1000000 500000 1',
    resource_name: '1000000 1000000 500000 2 1',
    resource_client: '1000000 1000000 500000 1',
    resource_display: '1000000 1000000 2 1',
    resource_imported: '100000 100000 1',
    resource_ends: '500000 500000 2 1',
    resource_transfer: '1000 1000 1 1',
  }).map(
    ([index, stat]) =>
      `insert into sqlite_stat1 (tbl, idx, stat) values ('resource', '${index}', '${stat}')`,
  ),
  `insert into sqlite_stat1 (tbl, idx, stat)
    values ('operation', 'operation_status', '1000000 1000000 100000 1')`,
  'analyze sqlite_schema',
]

const movedOf = ({ counts, key }: Facet): string =>
  `(${counts('old')}) <> (${counts('new')}) or ${key('old')} <> ${key('new')}`

function sqliteTriggers(facet: Facet): readonly string[] {
  const { type, table, of, counts, key } = facet
  const count = (row: 'old' | 'new', by: number): string =>
    `insert into counter (tenant, type, directory, shard, total)
      values (${row}.tenant, '${type}', ${key(row)}, 0, ${by})
      on conflict (tenant, type, directory, shard) do update set total = total + ${by};`
  return [
    `create trigger ${type}_added after insert on ${table} when ${counts('new')}
      begin ${count('new', 1)} end`,
    `create trigger ${type}_removed after delete on ${table} when ${counts('old')}
      begin ${count('old', -1)} end`,
    `create trigger ${type}_left after update of ${of} on ${table}
      when ${counts('old')} and (${movedOf(facet)}) begin ${count('old', -1)} end`,
    `create trigger ${type}_came after update of ${of} on ${table}
      when ${counts('new')} and (${movedOf(facet)}) begin ${count('new', 1)} end`,
  ]
}

function postgresTriggers(facet: Facet): readonly string[] {
  const { type, table, of, counts, key } = facet
  const name = `custody_count_${type.toLowerCase()}`
  const count = (row: 'old' | 'new', by: number): string =>
    `perform custody_count(${row}.tenant, '${type}', ${key(row)}, ${by});`
  return [
    `create function ${name}() returns trigger language plpgsql as $custody$begin
      if tg_op <> 'INSERT' and ${counts('old')} then ${count('old', -1)} end if;
      if tg_op <> 'DELETE' and ${counts('new')} then ${count('new', 1)} end if;
      return null;
    end$custody$`,
    `create trigger ${type}_counted after insert or delete on ${table}
      for each row execute function ${name}()`,
    `create trigger ${type}_moved after update of ${of} on ${table}
      for each row when (${movedOf(facet)}) execute function ${name}()`,
  ]
}

const triggers: Readonly<Record<Dialect['name'], (facet: Facet) => readonly string[]>> = {
  sqlite: sqliteTriggers,
  postgres: postgresTriggers,
}
