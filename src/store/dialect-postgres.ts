import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  sql,
  type Expression,
  type RawBuilder,
} from 'kysely'
import type { Dialect, JsonDialect, PlainType } from './dialect.ts'
import type { Tables } from './tables.ts'

type Text = Expression<unknown>

/**
 * What JSON and text ask of the database, as functions: a document is parsed once per use instead
 * of once per mention, and the answers are those of `matchFilter`. PL/pgSQL, because PostgreSQL
 * would not inline SQL functions around something as dear as parsing, and calls them slowly.
 * @param version `server_version_num`
 */
export function postgresFunctions(version: number): readonly string[] {
  // Full case mapping, as JavaScript's: "Σ" at the end of a word included. Version 18 brings its own.
  const folding = version >= 180_000 ? 'pg_unicode_fast' : 'und-x-icu'
  const define = (signature: string, returns: string, body: string): string =>
    `create or replace function ${signature} returns ${returns}
      language plpgsql immutable parallel safe as $custody$${body}$custody$`
  return [
    // jsonb refuses NUL and lone surrogates, which JSON.stringify writes as escapes: one such
    // document would otherwise fail every list.
    define(
      'custody_json(document text)',
      'jsonb',
      String.raw`begin
        if document is null or strpos(document, '\u') = 0 then return document::jsonb; end if;
        return regexp_replace(
          document,
          '(?<!\\)((?:\\\\)*)\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})',
          '\1\\ufffd', 'g')::jsonb;
      end`,
    ),
    define(
      'custody_text(value jsonb)',
      'text',
      `begin
        if jsonb_typeof(value) = 'object' then value := value -> 'value'; end if;
        return case jsonb_typeof(value) when 'string' then value #>> '{}' end;
      end`,
    ),
    define(
      'custody_number(value jsonb)',
      'numeric',
      `begin
        if jsonb_typeof(value) = 'object' then value := value -> 'value'; end if;
        return case jsonb_typeof(value) when 'number' then (value #>> '{}')::numeric end;
      end`,
    ),
    define(
      'custody_flag(value jsonb)',
      'integer',
      `begin
        if jsonb_typeof(value) = 'object' then value := value -> 'value'; end if;
        return case value when 'true' then 1 when 'false' then 0 end;
      end`,
    ),
    define(
      'custody_object(value jsonb)',
      'jsonb',
      `begin return case jsonb_typeof(value) when 'object' then value end; end`,
    ),
    define(
      'custody_array(value jsonb)',
      'jsonb',
      `begin return case jsonb_typeof(value) when 'array' then value else '[]' end; end`,
    ),
    define(
      'custody_present(value jsonb)',
      'boolean',
      `begin return value is not null and value not in ('null', '{}', '[]'); end`,
    ),
    define(
      'custody_normalise(value text)',
      'text',
      `begin return lower(normalize(value, nfc) collate "${folding}"); end`,
    ),
    // parseInstant of src/domain/time.ts. The calendar repeats after 400 years; they keep year 0,
    // which PostgreSQL does not have, out of the arithmetic.
    define(
      'custody_instant(value text)',
      'text',
      String.raw`declare
        m text[];
        y integer;
        moment timestamp;
      begin
        m := regexp_match(value, '^([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.]([0-9]{1,12}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))?$');
        if m is null
          or m[2]::integer not between 1 and 12 or m[3]::integer not between 1 and 31
          or m[4]::integer > 23 or m[5]::integer > 59 or m[6]::integer > 59
          or m[9]::integer > 23 or m[10]::integer > 59
        then return null; end if;
        y := m[1]::integer + 400;
        if m[3]::integer > extract(day from make_date(y, m[2]::integer, 1) + interval '1 month - 1 day')
        then return null; end if;
        moment := make_timestamp(y, m[2]::integer, m[3]::integer, m[4]::integer, m[5]::integer, m[6]::integer)
          + left(rpad(coalesce(m[7], ''), 3, '0'), 3)::integer * interval '1 millisecond';
        if m[8] is not null then
          moment := moment - (m[8] || '1')::integer
            * make_interval(hours => m[9]::integer, mins => m[10]::integer);
        end if;
        y := extract(year from moment) - 400;
        if y not between 0 and 9999 then return null; end if;
        return lpad(y::text, 4, '0') || to_char(moment, '-MM-DD"T"HH24:MI:SS.MS"Z"');
      end`,
    ),
  ]
}

function at(root: Text, keys: readonly string[]): RawBuilder<unknown> {
  return keys.reduce<RawBuilder<unknown>>(
    (inner, key) => sql`(${inner} -> ${sql.lit(key)})`,
    sql`${root}`,
  )
}

function plain(value: Text, as: PlainType): RawBuilder<unknown> {
  // What comes out of JSON has the collation of the database, by which nothing may be ordered.
  if (as === 'text') return sql`(custody_text(${value}) collate "C")`
  return as === 'number' ? sql`custody_number(${value})` : sql`custody_flag(${value})`
}

const postgresJson: JsonDialect = {
  document: (column) => sql`custody_json(${column})`,
  value: (root, keys, as) => plain(at(root, keys), as),
  isPresent: (root, keys) => sql`custody_present(${at(root, keys)})`,
  object: (root, keys) => sql`custody_object(${at(root, keys)})`,
  elements(root, keys, alias) {
    const value = sql.ref(`${alias}.value`)
    return {
      from: sql`jsonb_array_elements(custody_array(${at(root, keys)})) with ordinality as ${sql.id(alias)}(value, position)`,
      object: sql`custody_object(${value})`,
      plain: (as) => plain(value, as),
      hasValue: sql`(case jsonb_typeof(${value}) when 'object' then custody_present(${value} -> 'value') else ${value} <> 'null' end)`,
      isPresent: sql`(${value} not in ('null', '{}'))`,
      position: sql.ref(`${alias}.position`),
    }
  },
}

export const postgresDialect: Dialect = {
  name: 'postgres',
  text: 'text collate "C"',
  real: 'double precision',
  tableSuffix: '',
  // It counts for itself, in the background.
  statistics: () => [],
  skipLocked: true,
  compiler: () =>
    new Kysely<Tables>({
      dialect: {
        createAdapter: () => new PostgresAdapter(),
        createDriver: () => new DummyDriver(),
        createIntrospector: (db) => new PostgresIntrospector(db),
        createQueryCompiler: () => new PostgresQueryCompiler(),
      },
    }),
  literal: (value) => sql`cast(${value} as text)`,
  normalise: (value) => sql`(custody_normalise(${value}) collate "C")`,
  instant: (value) => sql`(custody_instant(${value}) collate "C")`,
  // It knows how many rows a range has and need not be misled.
  unindexed: (column) => sql`${column}`,
  nested: sql`join`,
  // statement_timeout does.
  mayGoOn: null,
  contains: (value, part) => sql`strpos(${value}, cast(${part} as text)) > 0`,
  startsWith: (value, part) => sql`starts_with(${value}, cast(${part} as text))`,
  endsWith: (value, part) => sql`right(${value}, length(cast(${part} as text))) = ${part}`,
  greater: (a, b) => sql`greatest(${a}, ${b})`,
  jsonArray: (element, by) =>
    sql`'[' || coalesce(string_agg(${element}, ',' order by ${by}), '') || ']'`,
  records: (list, columns, alias) =>
    sql`jsonb_to_recordset(custody_json(${list})) as ${sql.id(alias)}(${sql.join(
      columns.map((c) => sql`${sql.id(c)} text collate "C"`),
    )})`,
  json: postgresJson,
}
