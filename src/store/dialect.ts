import {
  DummyDriver,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
  type Expression,
  type RawBuilder,
} from 'kysely'
import type { Tables } from './tables.ts'

type Text = Expression<unknown>
type Condition = RawBuilder<boolean>

/** The elements of one array inside a document, to be put after `from`. */
export interface ElementSource {
  readonly from: RawBuilder<unknown>
  /** The element as a document of its own when it is an object, else null. */
  readonly object: RawBuilder<unknown>
  /** The element as a plain value; of an object its `value` (RFC 7643 §2.4). */
  plain(as: PlainType): RawBuilder<unknown>
  /** Whether it has such a value, of whatever type. */
  readonly hasValue: Condition
  readonly isPresent: Condition
  /** The element's place in its array, ascending. */
  readonly position: RawBuilder<unknown>
}

/** What a JSON value is read as; `flag` is 1 or 0. A value of another type may be null. */
export type PlainType = 'text' | 'number' | 'flag'

/** How JSON is looked into. A `root` is what `document` or an element's `object` yields, or null. */
export interface JsonDialect {
  /** A column that holds JSON text, in the form the others look into. */
  document(column: Text): RawBuilder<unknown>
  /** The value at `keys`; of an object its `value`; null when absent. */
  value(root: Text, keys: readonly string[], as: PlainType): RawBuilder<unknown>
  /** Whether there is something else than null, `{}` and `[]` at `keys`; never null itself. */
  isPresent(root: Text, keys: readonly string[]): Condition
  /** The object at `keys` as a document of its own, else null. */
  object(root: Text, keys: readonly string[]): RawBuilder<unknown>
  /** The elements of the array at `keys`; at the root itself when there are no keys. */
  elements(root: Text, keys: readonly string[], alias: string): ElementSource
}

/** All that differs between the databases, named; a query never asks which database it runs on. */
export interface Dialect {
  readonly name: 'sqlite' | 'postgres'
  /** Text that compares byte by byte, as ids, instants and normalised names need. */
  readonly text: string
  /** A number as JavaScript has it: 8 bytes. */
  readonly real: string
  readonly tableSuffix: string
  /**
   * Statements that tell the planner how selective the indexes are, where it cannot find out by
   * itself: per table and index the rows that share its first column, its first two, and so on.
   */
  statistics(
    rows: number,
    indexes: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>,
  ): readonly string[]
  /** Rows can be locked with SKIP LOCKED; where there is one writer they need not be. */
  readonly skipLocked: boolean
  /** A text constant where nothing else tells its type. */
  literal(value: string): RawBuilder<string>
  /** A builder that compiles and never executes. */
  compiler(): Kysely<Tables>
  /** `normalise` of src/domain/text.ts, in SQL. */
  normalise(value: Text): RawBuilder<string>
  /** Any spelling of a dateTime as a 24-character instant, else null. */
  instant(value: Text): RawBuilder<string>
  /** A column whose order or range the planner shall not serve from an index. */
  unindexed(column: Text): RawBuilder<string>
  /** A join whose left side is walked first, where the planner does not find that out by itself. */
  readonly nested: RawBuilder<unknown>
  /** A condition that holds at every row, and stops a query that was told to stop; null: not needed. */
  readonly mayGoOn: Condition | null
  contains(value: Text, part: Text): Condition
  startsWith(value: Text, part: Text): Condition
  /** `part` is not empty. */
  endsWith(value: Text, part: Text): Condition
  greater(a: Text, b: Text): RawBuilder<string>
  /** Aggregates the JSON texts in `element` to the text of one array, in the order of `by`. */
  jsonArray(element: Text, by: Text): RawBuilder<string>
  /** The objects in the JSON array `list` as rows, with some of their texts; to be put after `from`. */
  records(list: Text, columns: readonly string[], alias: string): RawBuilder<unknown>
  readonly json: JsonDialect
}

/** Each key is quoted: an extension's URN is one key, dots and all. */
function jsonPath(keys: readonly string[]): string {
  return `$${keys
    .map((key) => {
      if (key.includes('"')) throw new Error(`not an attribute name: ${key}`)
      return `."${key}"`
    })
    .join('')}`
}

const sqliteJson: JsonDialect = {
  document: (column) => sql`${column}`,
  value(root, keys) {
    const path = jsonPath(keys)
    const inner = jsonPath([...keys, 'value'])
    return sql`case json_type(${root}, ${path}) when 'object' then json_extract(${root}, ${inner}) else json_extract(${root}, ${path}) end`
  },
  isPresent(root, keys) {
    const path = jsonPath(keys)
    return sql`(case json_type(${root}, ${path}) when 'object' then json_extract(${root}, ${path}) <> '{}' when 'array' then json_array_length(${root}, ${path}) > 0 else json_extract(${root}, ${path}) is not null end)`
  },
  object(root, keys) {
    const path = jsonPath(keys)
    return sql`case json_type(${root}, ${path}) when 'object' then json_extract(${root}, ${path}) end`
  },
  elements(root, keys, alias) {
    const value = sql.ref(`${alias}.value`)
    const type = sql.ref(`${alias}.type`)
    const inner = jsonPath(['value'])
    const plain = sql`(case ${type} when 'object' then json_extract(${value}, ${inner}) else ${value} end)`
    return {
      from: sql`json_each(${root}, ${jsonPath(keys)}) as ${sql.id(alias)}`,
      // A bare word is not JSON text: without the case, json_extract would refuse the whole query.
      object: sql`(case ${type} when 'object' then ${value} end)`,
      plain: () => plain,
      hasValue: sql`${plain} is not null`,
      isPresent: sql`(${type} <> 'null' and not (${type} = 'object' and ${value} = '{}'))`,
      position: sql.ref(`${alias}.key`),
    }
  },
}

export const sqliteDialect: Dialect = {
  name: 'sqlite',
  text: 'text',
  real: 'real',
  // STRICT: SQLite otherwise keeps any type in any column and compares text above all numbers.
  tableSuffix: ' strict',
  // Without statistics SQLite takes every equality for selective and walks a tenant's million rows
  // by id, since that spares the sort, instead of asking the unique index of userName.
  statistics: (rows, tables) => [
    // Makes the table of statistics; what it finds in an empty database is of no use.
    'analyze',
    'delete from sqlite_stat1',
    ...Object.entries(tables).flatMap(([table, indexes]) =>
      Object.entries(indexes).map(
        ([index, shared]) =>
          `insert into sqlite_stat1 (tbl, idx, stat) values ('${table}', '${index}', '${[rows, ...shared].join(' ')}')`,
      ),
    ),
    'analyze sqlite_schema',
  ],
  skipLocked: false,
  compiler: () =>
    new Kysely<Tables>({
      dialect: {
        createAdapter: () => new SqliteAdapter(),
        createDriver: () => new DummyDriver(),
        createIntrospector: (db) => new SqliteIntrospector(db),
        createQueryCompiler: () => new SqliteQueryCompiler(),
      },
    }),
  literal: (value) => sql`${value}`,
  normalise: (value) => sql`custody_normalise(${value})`,
  instant: (value) => sql`custody_instant(${value})`,
  unindexed: (column) => sql`+${column}`,
  nested: sql`cross join`,
  // With the row as its argument it cannot be answered once for all rows.
  mayGoOn: sql`custody_may_go_on(rowid) = 1`,
  // Not LIKE: it folds ASCII case and needs its wildcards escaped.
  contains: (value, part) => sql`instr(${value}, ${part}) > 0`,
  startsWith: (value, part) => sql`substr(${value}, 1, length(${part})) = ${part}`,
  endsWith: (value, part) => sql`substr(${value}, -length(${part})) = ${part}`,
  greater: (a, b) => sql`max(${a}, ${b})`,
  jsonArray: (element, by) =>
    sql`'[' || coalesce(group_concat(${element}, ',' order by ${by}), '') || ']'`,
  records: (list, columns, alias) =>
    sql`(select ${sql.join(columns.map((c) => sql`value ->> ${sql.lit(c)} as ${sql.id(c)}`))}
      from json_each(${list})) as ${sql.id(alias)}`,
  json: sqliteJson,
}
