import { Client } from 'pg'
import { errors } from '../domain/errors.ts'
import { instantOf, type Instant } from '../domain/time.ts'
import { codeOf, isLost } from './postgres-failures.ts'
import type { Row, SqlValue } from './sql.ts'
import { Connection } from './sqlite-connection.ts'

/** Meta key of a target while rows arrive; a server does not start on it. */
export const unfinishedCopy = 'copy.unfinished'

const connectMs = 5_000

/** A table as its database describes it. */
export interface TableShape {
  readonly name: string
  /** In the order of their names, so that both databases tell the same. */
  readonly columns: readonly string[]
  /** The primary key, in its order. */
  readonly key: readonly string[]
  /** Tables whose rows have to be there first. */
  readonly parents: readonly string[]
}

/** One database of a copy, without the rooms above it: tables, keys and rows. */
export interface CopySide {
  tables(): Promise<readonly TableShape[]>
  has(table: string): Promise<boolean>
  /** In the order of the key, bytewise, strictly after `after`. */
  page(table: TableShape, after: Row | null, limit: number): Promise<readonly Row[]>
  /** The last row by key; where a copy that was cut off goes on. */
  last(table: TableShape): Promise<Row | null>
  /** All rows and the note in one transaction; a row that is there already stays. */
  write(table: TableShape, rows: readonly Row[]): Promise<void>
  meta(key: string): Promise<string | null>
  /** null removes it. */
  setMeta(key: string, value: string | null): Promise<void>
  /** By the clock that all its processes go by; null where that is the machine's. */
  now(): Promise<Instant | null>
  /** Foreign keys that some row breaks, `child to parent` each. */
  brokenReferences(): Promise<readonly string[]>
  /** A few rows of a statement of our own. */
  ask(text: string): Promise<readonly Row[]>
  close(): Promise<void>
}

export function openSide(url: string, readonly: boolean): Promise<CopySide> {
  return url.startsWith('sqlite:')
    ? Promise.resolve(sqliteSide(url.slice('sqlite:'.length), readonly))
    : postgresSide(url, readonly)
}

const quoted = (name: string): string => `"${name}"`

function keyed(table: TableShape, mark: (n: number) => string): { list: string; marks: string } {
  return {
    list: table.key.map(quoted).join(', '),
    marks: table.key.map((_, i) => mark(i)).join(', '),
  }
}

function sqliteSide(path: string, readonly: boolean): CopySide {
  const connection = new Connection(path, { readonly })
  const { db } = connection
  db.pragma('busy_timeout = 5000')
  const metaTable = { read: 'select value from meta where key = ?' }
  return {
    async tables() {
      const names = db
        .prepare<[], { name: string }>(
          `select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'`,
        )
        .all()
      return names.map(({ name }) => {
        const columns = db.pragma(`table_xinfo(${name})`) as readonly {
          readonly name: string
          readonly pk: number
          readonly hidden: number
        }[]
        const parents = db.pragma(`foreign_key_list(${name})`) as readonly {
          readonly table: string
        }[]
        return {
          name,
          columns: columns
            .filter((c) => c.hidden === 0)
            .map((c) => c.name)
            .sort(),
          key: columns
            .filter((c) => c.pk > 0)
            .sort((a, b) => a.pk - b.pk)
            .map((c) => c.name),
          parents: [...new Set(parents.map((p) => p.table))],
        }
      })
    },
    has: async (table) =>
      db.prepare('select 1 from sqlite_schema where name = ?').get(table) !== undefined,
    async page(table, after, limit) {
      const { list, marks } = keyed(table, () => '?')
      const columns = table.columns.map(quoted).join(', ')
      const where = after === null ? '' : `where (${list}) > (${marks})`
      const values = after === null ? [] : table.key.map((name) => after[name]!)
      const text = `select ${columns} from ${quoted(table.name)} ${where} order by ${list} limit ${limit}`
      return db.prepare<SqlValue[], Row>(text).all(...values)
    },
    async last(table) {
      const list = table.key.map((name) => `${quoted(name)} desc`).join(', ')
      const text = `select ${table.key.map(quoted).join(', ')} from ${quoted(table.name)} order by ${list} limit 1`
      return db.prepare<[], Row>(text).get() ?? null
    },
    async write(table, rows) {
      const columns = table.columns.map(quoted).join(', ')
      const insert = db.prepare<SqlValue[]>(
        `insert into ${quoted(table.name)} (${columns}) values (${table.columns.map(() => '?').join(', ')}) on conflict do nothing`,
      )
      db.transaction(() => {
        for (const row of rows) insert.run(...table.columns.map((name) => row[name]!))
      })()
    },
    async meta(key) {
      const row = db.prepare<[string], { value: string }>(metaTable.read).get(key)
      return row?.value ?? null
    },
    async setMeta(key, value) {
      if (value === null) db.prepare('delete from meta where key = ?').run(key)
      else db.prepare('insert or replace into meta (key, value) values (?, ?)').run(key, value)
    },
    now: () => Promise.resolve(null),
    async brokenReferences() {
      const found = db.pragma('foreign_key_check') as readonly {
        readonly table: string
        readonly parent: string
      }[]
      return [...new Set(found.map(({ table, parent }) => `${table} to ${parent}`))]
    },
    ask: async (text) => db.prepare<[], Row>(text).all(),
    async close() {
      db.close()
    },
  }
}

const columnTypes = `select c.relname as "table", a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
    array_position(i.indkey::int2[], a.attnum) as place
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
  join pg_index i on i.indrelid = c.oid and i.indisprimary
  where c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace`
const parentsOf = `select distinct c.conrelid::regclass::text as child, p.relname as parent
  from pg_constraint c join pg_class p on p.oid = c.confrelid
  where c.contype = 'f' and c.connamespace = current_schema()::regnamespace`

const referencesOf = `select c.conrelid::regclass::text as child, c.confrelid::regclass::text as parent,
    string_agg(format('c.%I = p.%I', ca.attname, pa.attname), ' and ') as joined,
    string_agg(format('c.%I is not null', ca.attname), ' and ') as filled
  from pg_constraint c
  cross join lateral unnest(c.conkey, c.confkey) as k (own, other)
  join pg_attribute ca on ca.attrelid = c.conrelid and ca.attnum = k.own
  join pg_attribute pa on pa.attrelid = c.confrelid and pa.attnum = k.other
  where c.contype = 'f' and c.connamespace = current_schema()::regnamespace
  group by c.oid, c.conrelid, c.confrelid`

async function postgresSide(url: string, readonly: boolean): Promise<CopySide> {
  const client = new Client({
    connectionString: url,
    application_name: 'custody copy',
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
  })
  client.on('error', () => undefined)
  await client.connect().catch((error: unknown) => {
    throw errors.notReady({ reason: 'the database cannot be reached' }, { cause: error })
  })
  if (readonly) await client.query('set default_transaction_read_only = on')
  const types = new Map<string, string>()
  const rowsOf = async (text: string, values: readonly unknown[] = []): Promise<readonly Row[]> =>
    (await client.query<Row>(text, [...values])).rows
  return {
    async tables() {
      const columns = (
        await client.query<{ table: string; name: string; type: string; place: number | null }>(
          columnTypes,
        )
      ).rows
      const parents = (await client.query<{ child: string; parent: string }>(parentsOf)).rows
      for (const { table, name, type } of columns) types.set(`${table}.${name}`, type)
      return [...Map.groupBy(columns, (c) => c.table)].map(([name, own]) => ({
        name,
        columns: own.map((c) => c.name).sort(),
        key: own
          .filter((c) => c.place !== null)
          .sort((a, b) => a.place! - b.place!)
          .map((c) => c.name),
        parents: parents.filter((p) => p.child.replaceAll('"', '') === name).map((p) => p.parent),
      }))
    },
    async has(table) {
      const text = 'select to_regclass($1) is not null as there'
      const { rows } = await client.query<{ there: boolean }>(text, [table])
      return rows[0]!.there
    },
    async page(table, after, limit) {
      const { list, marks } = keyed(table, (n) => `$${n + 1}`)
      const columns = table.columns.map(quoted).join(', ')
      const where = after === null ? '' : `where (${list}) > (${marks})`
      const values = after === null ? [] : table.key.map((name) => after[name]!)
      return rowsOf(
        `select ${columns} from ${quoted(table.name)} ${where} order by ${list} limit ${limit}`,
        values,
      )
    },
    async last(table) {
      const list = table.key.map((name) => `${quoted(name)} desc`).join(', ')
      const [row] = await rowsOf(
        `select ${table.key.map(quoted).join(', ')} from ${quoted(table.name)} order by ${list} limit 1`,
      )
      return row ?? null
    },
    async write(table, rows) {
      const arrays = table.columns.map((name, i) => {
        const type = types.get(`${table.name}.${name}`)!
        return `$${i + 1}::${type}[]`
      })
      const columns = table.columns.map(quoted).join(', ')
      await client.query(
        `insert into ${quoted(table.name)} (${columns}) select * from unnest(${arrays.join(', ')}) on conflict do nothing`,
        table.columns.map((name) => rows.map((row) => row[name])),
      )
    },
    async meta(key) {
      const [row] = await rowsOf('select value from meta where key = $1', [key])
      return (row?.['value'] as string | undefined) ?? null
    },
    async setMeta(key, value) {
      if (value === null) await client.query('delete from meta where key = $1', [key])
      else {
        const text =
          'insert into meta (key, value) values ($1, $2) on conflict (key) do update set value = $2'
        await client.query(text, [key, value])
      }
    },
    async now() {
      const [row] = await rowsOf(
        'select extract(epoch from clock_timestamp())::double precision * 1000 as ms',
      )
      return instantOf(Math.floor(Number(row!['ms'])))
    },
    async brokenReferences() {
      const broken: string[] = []
      for (const { child, parent, joined, filled } of await rowsOf(referencesOf)) {
        const [row] = await rowsOf(
          `select count(*) as n from ${child} c where ${filled} and not exists (select 1 from ${parent} p where ${joined})`,
        )
        if (Number(row!['n']) > 0) broken.push(`${child} to ${parent}`)
      }
      return broken
    },
    ask: (text) => rowsOf(text),
    async close() {
      await client.end()
    },
  }
}

/** Whether an error says that PostgreSQL cannot keep a text because of U+0000. */
export function isUnkeepableText(error: unknown): boolean {
  return ['22021', '22P05'].includes(codeOf(error))
}

/** Whether the connection to PostgreSQL is gone, in the middle of a statement or before one. */
export function isDisconnected(error: unknown): boolean {
  return (
    isLost(error) ||
    (error instanceof Error && /^Client (was closed|has encountered)/.test(error.message))
  )
}
