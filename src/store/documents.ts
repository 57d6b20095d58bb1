import { sql, type RawBuilder } from 'kysely'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import type { Dialect } from './dialect.ts'
import { filterToSql } from './filter-sql.ts'
import {
  decodePosition,
  encodePosition,
  isAfter,
  orderBy,
  sortKey,
  type SortKey,
} from './paging.ts'
import { credentialSource, reachOf, userSource, type FilterSource } from './sources.ts'
import { arg, statement, type Cost, type Query, type Row, type Sql, type Statement } from './sql.ts'
import type { ListQuery, Page, StoredDocument, Visibility } from './store.ts'

const userColumns = [
  'id',
  'type',
  'doc',
  'credentials',
  'credentials_rev',
  'created_at',
  'modified_at',
  'version',
] as const
/** From here on a page is looked for from the nearer end; before it that is not worth asking. */
const deepFrom = 1_000

const credentialColumns = ['id', 'doc', 'created_at', 'updated_at', 'version'] as const

function userFromRow(row: Row): StoredDocument {
  const isAccount = row['type'] === 'account'
  return {
    id: row['id'] as string,
    type: isAccount ? 'account' : 'person',
    text: row['doc'] as string,
    credentials: row['credentials'] as string | null,
    createdAt: row['created_at'] as Instant,
    updatedAt: row['modified_at'] as Instant,
    etag: isAccount ? `${row['version']}.${row['credentials_rev']}` : String(row['version']),
  }
}

function credentialFromRow(row: Row): StoredDocument {
  return {
    id: row['id'] as string,
    type: 'credential',
    text: row['doc'] as string,
    credentials: null,
    createdAt: row['created_at'] as Instant,
    updatedAt: row['updated_at'] as Instant,
    etag: String(row['version']),
  }
}

/** A role's scope over the rows of `resource`; null when it hides nothing. */
function visible({ people, accounts }: Visibility): RawBuilder<boolean> | null {
  if (people === 'all' && accounts === 'all') return null
  const parts: RawBuilder<boolean>[] = []
  if (people === 'all') parts.push(sql`type = 'person'`)
  else if (people !== 'none') parts.push(sql`(type = 'person' and directory = ${people.directory})`)
  if (accounts === 'all') parts.push(sql`type = 'account'`)
  else if (accounts !== 'none') {
    const mine = sql<boolean>`client = ${accounts.client}`
    const owned =
      accounts.owners.length === 0
        ? sql<boolean>`1 = 0`
        : sql<boolean>`owner_id in (${sql.join(accounts.owners)})`
    parts.push(sql`(type = 'account' and (${mine} or ${owned}))`)
  }
  return parts.length === 0 ? sql`1 = 0` : sql`(${sql.join(parts, sql` or `)})`
}

/** Which counters make up the total of a list; null when it has to be counted. */
function counted(
  { visibility, filter }: ListQuery,
  of: 'users' | 'credentials',
): readonly RawBuilder<boolean>[] | null {
  const { people, accounts } = visibility
  if (filter !== null || (accounts !== 'all' && accounts !== 'none')) return null
  if (of === 'credentials') return accounts === 'all' ? [sql`type = 'credential'`] : []
  const parts: RawBuilder<boolean>[] = accounts === 'all' ? [sql`type = 'account'`] : []
  if (people === 'all') return [...parts, sql`type = 'person'`]
  return people === 'none'
    ? parts
    : [...parts, sql`(type = 'person' and directory = ${people.directory})`]
}

/** One kind of resource as it is listed. */
interface Listing {
  readonly of: 'users' | 'credentials'
  readonly table: 'resource' | 'credential'
  readonly columns: readonly string[]
  readonly source: FilterSource
  /** What every row listed fulfils, under the role's scope. */
  readonly scope: (want: ListQuery) => readonly RawBuilder<boolean>[]
  readonly map: (row: Row) => StoredDocument
}

const listings = {
  users: {
    of: 'users',
    table: 'resource',
    columns: userColumns,
    source: userSource,
    scope({ visibility }) {
      const scope = visible(visibility)
      const living = sql<boolean>`deleted_at is null`
      return scope === null ? [living] : [living, scope]
    },
    map: userFromRow,
  },
  credentials: {
    of: 'credentials',
    table: 'credential',
    columns: credentialColumns,
    source: credentialSource,
    scope({ tenant, visibility: { accounts } }) {
      if (accounts === 'all') return []
      if (accounts === 'none') return [sql`1 = 0`]
      const scope = visible({ people: 'none', accounts })
      return [sql`account in (select id from resource where tenant = ${tenant} and ${scope})`]
    },
    map: credentialFromRow,
  },
} as const satisfies Readonly<Record<string, Listing>>

/**
 * What may look at many rows runs aside: filters but for equalities that find a handful, orders
 * other than by id, and the scope of one owner or client.
 */
function costOf(want: ListQuery, listing: Listing): Cost {
  if (want.filter !== null && reachOf(want.filter, listing.source) === 'few') return 'light'
  if (want.filter !== null || (want.sort ?? null) !== null) return 'heavy'
  return counted(want, listing.of) === null ? 'heavy' : 'light'
}

/**
 * The order of a page by id. Under a filter SQLite would rather walk all ids in order than sort the
 * few that a range of another index finds, and search a million rows for ten; only behind an
 * equality it judges right. Hence the hidden column.
 */
function idOrder({ filter }: ListQuery, dialect: Dialect): RawBuilder<unknown> {
  const root = filter?.root
  const judgesRight = root === undefined || (root.op === 'compare' && root.operator === 'eq')
  return judgesRight ? sql`${sql.ref('id')}` : dialect.unindexed(sql.ref('id'))
}

/** The resources as SCIM shows them: one by id, or a page under a filter and a role's scope. */
export function documentRoom({ db, dialect }: Sql) {
  const user = statement(
    db
      .selectFrom('resource')
      .select(userColumns)
      .where('tenant', '=', arg('tenant'))
      .where('id', '=', arg('id'))
      .where('deleted_at', 'is', null),
  )
  const credential = statement(
    db
      .selectFrom('credential')
      .select(credentialColumns)
      .where('tenant', '=', arg('tenant'))
      .where('id', '=', arg('id')),
  )
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const all = (conditions: readonly RawBuilder<boolean>[]) => sql.join(conditions, sql` and `)

  function matching(want: ListQuery, listing: Listing, cost: Cost): RawBuilder<boolean>[] {
    const conditions = [sql<boolean>`tenant = ${want.tenant}`, ...listing.scope(want)]
    if (cost === 'heavy' && dialect.mayGoOn !== null) conditions.push(dialect.mayGoOn)
    if (want.filter !== null) conditions.push(filterToSql(want.filter, listing.source, dialect))
    return conditions
  }

  /** One row more than the page holds tells whether there is another page. */
  function rows(want: ListQuery, listing: Listing, key: SortKey | null, cost: Cost): Statement {
    const table = sql.table(listing.table)
    const conditions = matching(want, listing, cost)
    const after = want.after ?? null
    const id = idOrder(want, dialect)
    if (after !== null) {
      const position = decodePosition(key, after)
      conditions.push(key === null ? sql`${id} > ${position.id}` : isAfter(key, position))
    }
    const skip = after === null ? Math.max(1, want.startIndex) - 1 : 0
    const limits = sql`limit ${want.count + 1} offset ${skip}`
    const columns = sql.join(listing.columns.map((column) => sql.ref(`r.${column}`)))
    // The page is found first, over narrow indexes, and only its documents are fetched.
    if (key === null) {
      return compiled(sql`select ${columns} from ${table} as r where r.tenant = ${want.tenant}
        and r.id in (select id from ${table} where ${all(conditions)} order by ${id} ${limits})
        order by r.id`)
    }
    return compiled(sql`select ${columns}, page.sort_key from (
        select id, ${key.value} as sort_key from ${table} where ${all(conditions)}
        order by ${orderBy(key, key.value, sql`id`)} ${limits}
      ) as page inner join ${table} as r on r.tenant = ${want.tenant} and r.id = page.id
      order by ${orderBy(key, sql`page.sort_key`, sql`page.id`)}`)
  }

  function total(want: ListQuery, listing: Listing, cost: Cost): Statement {
    const parts = counted(want, listing.of)
    if (parts === null) {
      const conditions = all(matching(want, listing, cost))
      return compiled(sql`select count(*) as total from ${sql.table(listing.table)}
        where ${conditions}`)
    }
    const scope = parts.length === 0 ? sql`1 = 0` : sql`(${sql.join(parts, sql` or `)})`
    return compiled(sql`select coalesce(sum(total), 0) as total from counter
      where tenant = ${want.tenant} and ${scope}`)
  }

  /** A page beyond the middle is nearer to the end: fewer rows to skip, and none to count. */
  async function fromEnd(
    query: Query,
    want: ListQuery,
    listing: Listing,
    skip: number,
  ): Promise<Page<StoredDocument> | null> {
    const [counted] = await query(total(want, listing, 'light'))
    const all = Number(counted!['total'])
    if (skip <= all / 2) return null
    const count = Math.min(want.count, all - skip)
    if (count <= 0) return { total: all, rows: [], next: null }
    const table = sql.table(listing.table)
    const columns = sql.join(listing.columns.map((column) => sql.ref(`r.${column}`)))
    const conditions = sql.join(matching(want, listing, 'light'), sql` and `)
    const found = await query(
      compiled(sql`select ${columns} from ${table} as r where r.tenant = ${want.tenant}
        and r.id in (select id from ${table} where ${conditions} order by id desc
          limit ${count} offset ${all - skip - count})
        order by r.id`),
    )
    const last = found.at(-1)
    const next = last !== undefined && skip + count < all ? encodePosition(null, last) : null
    return { total: all, rows: found.map(listing.map), next }
  }

  async function list(
    query: Query,
    want: ListQuery,
    listing: Listing,
  ): Promise<Page<StoredDocument>> {
    const cost = costOf(want, listing)
    const sort = want.sort ?? null
    const key = sort === null ? null : sortKey(sort, listing.source, dialect)
    const skip = (want.after ?? null) === null ? Math.max(1, want.startIndex) - 1 : 0
    if (skip >= deepFrom && cost === 'light' && want.filter === null && want.count > 0) {
      const page = await fromEnd(query, want, listing, skip)
      if (page !== null) return page
    }
    const found = want.count <= 0 ? [] : await query(rows(want, listing, key, cost), {}, cost)
    const page = found.slice(0, Math.max(0, want.count))
    const goesOn = found.length > page.length
    const next = goesOn ? encodePosition(key, page.at(-1)!) : null
    const documents = page.map(listing.map)
    // A list that ends on this page needs no counting: a selective filter then costs one query.
    if (page.length > 0 && !goesOn && (want.after ?? null) === null) {
      return { total: skip + page.length, rows: documents, next }
    }
    const [counted] = await query(total(want, listing, cost), {}, cost)
    return { total: Number(counted!['total']), rows: documents, next }
  }

  return {
    async userDocument(query: Query, tenant: TenantId, id: string) {
      const [row] = await query(user, { tenant, id })
      return row === undefined ? null : userFromRow(row)
    },
    async credentialDocument(query: Query, tenant: TenantId, id: string) {
      const [row] = await query(credential, { tenant, id })
      return row === undefined ? null : credentialFromRow(row)
    },
    listUsers: (query: Query, want: ListQuery) => list(query, want, listings.users),
    listCredentials: (query: Query, want: ListQuery) => list(query, want, listings.credentials),
  }
}
