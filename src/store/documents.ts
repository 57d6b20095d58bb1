import { createHash } from 'node:crypto'
import { sql, type RawBuilder } from 'kysely'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import type { Dialect } from './dialect.ts'
import { filterToSql, shapeOfFilter, type FilterShape } from './filter-sql.ts'
import { groupsOfUser, membersOfGroup } from './membership.ts'
import {
  decodePosition,
  encodePosition,
  isAfter,
  orderBy,
  sortKey,
  type Position,
  type SortKey,
} from './paging.ts'
import { credentialSource, groupSource, reachOf, userSource, type FilterSource } from './sources.ts'
import {
  arg,
  statement,
  type Cost,
  type Query,
  type Row,
  type Sql,
  type SqlValue,
  type Statement,
} from './sql.ts'
import type {
  GroupListQuery,
  ListQuery,
  Page,
  StoredDocument,
  StoredUser,
  Visibility,
} from './store.ts'

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
/** Shapes of one kind of list whose statements are kept. */
const plansMax = 300
/** From here on a page is looked for from the nearer end; before it that is not worth asking. */
const deepFrom = 1_000

/** A group with more members than this is read aside. */
const membersAside = 2_000

const documentColumns = ['id', 'doc', 'created_at', 'updated_at', 'version'] as const

function userFromRow(row: Row): StoredDocument {
  const isAccount = row['type'] === 'account'
  const groups = (row['groups'] ?? null) as string | null
  return {
    id: row['id'] as string,
    type: isAccount ? 'account' : 'person',
    text: row['doc'] as string,
    credentials: row['credentials'] as string | null,
    ...(groups === null ? {} : { groups }),
    createdAt: row['created_at'] as Instant,
    updatedAt: row['modified_at'] as Instant,
    etag: isAccount
      ? `${row['version']}.${row['credentials_rev']}`
      : `${row['version']}${groups === null ? '' : `.${fingerprint(groups)}`}`,
  }
}

/** Memberships are no part of the person's row, so its version does not tell when they change. */
function fingerprint(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
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

function groupFromRow(row: Row): StoredDocument {
  const members = row['members'] as string | null
  return {
    id: row['id'] as string,
    type: 'group',
    text: row['doc'] as string,
    credentials: null,
    ...(members === null ? {} : { members }),
    createdAt: row['created_at'] as Instant,
    updatedAt: row['updated_at'] as Instant,
    etag: String(row['version']),
  }
}

const tenant = arg('tenant')
const directory = arg('directory')

/**
 * What the SQL of a list depends on, and what fills its gaps. Compiling one costs more than finding
 * ten rows among a million, so lists of one shape share their statements.
 */
function shapeOf(want: ListQuery, position: Position | null): FilterShape {
  const { visibility, filter, sort = null } = want
  const { people, accounts } = visibility
  const filtered = filter === null ? null : shapeOfFilter(filter)
  const args: Record<string, SqlValue> = { ...filtered?.args, tenant: want.tenant }
  const parts = [filtered?.shape]
  if (typeof people === 'object') args['directory'] = people.directory
  parts.push(typeof people === 'object' ? 'directory' : people)
  if (typeof accounts === 'object') {
    args['client'] = accounts.client
    for (const [i, owner] of accounts.owners.entries()) args[`owner${i}`] = owner
  }
  parts.push(typeof accounts === 'object' ? `owners ${accounts.owners.length}` : accounts)
  if (sort !== null) {
    const { keys, multiValued, type, caseExact } = sort.attribute
    parts.push(JSON.stringify([keys, multiValued, type, caseExact, sort.descending]))
  }
  if (position !== null) {
    args['afterKey'] = position.key
    args['afterId'] = position.id
    parts.push(position.key === null ? 'after an id' : 'after a key')
  }
  args['limit'] = want.count + 1
  args['offset'] = position === null ? Math.max(1, want.startIndex) - 1 : 0
  return { shape: parts.join('\n'), args }
}

/** More is a list like any other. */
const fewMax = 20

/** Whether the filter is for a name that is unique, or nearly so, and has an index. */
function selectsFew({ filter }: ListQuery, { of }: Listing): boolean {
  const root = filter?.root
  if (of !== 'users' || root?.op !== 'compare' || root.operator !== 'eq') return false
  return root.value !== null && ['userName', 'externalId'].includes(root.attribute.path)
}

/** A role's scope over the rows of `resource`; null when it hides nothing. */
function visible({ people, accounts }: Visibility): RawBuilder<boolean> | null {
  if (people === 'all' && accounts === 'all') return null
  const parts: RawBuilder<boolean>[] = []
  if (people === 'all') parts.push(sql`type = 'person'`)
  else if (people !== 'none') parts.push(sql`(type = 'person' and directory = ${directory})`)
  if (accounts === 'all') parts.push(sql`type = 'account'`)
  else if (accounts !== 'none') {
    const mine = sql<boolean>`client = ${arg('client')}`
    const owned =
      accounts.owners.length === 0
        ? sql<boolean>`1 = 0`
        : sql<boolean>`owner_id in (${sql.join(accounts.owners.map((_, i) => arg(`owner${i}`)))})`
    parts.push(sql`(type = 'account' and (${mine} or ${owned}))`)
  }
  return parts.length === 0 ? sql`1 = 0` : sql`(${sql.join(parts, sql` or `)})`
}

/** Which counters make up the total of a list; null when it has to be counted. */
function counted(
  { visibility, filter }: ListQuery,
  of: Listing['of'],
): readonly RawBuilder<boolean>[] | null {
  // Groups are too few for it to matter.
  if (of === 'groups') return null
  const { people, accounts } = visibility
  if (filter !== null || (accounts !== 'all' && accounts !== 'none')) return null
  if (of === 'credentials') return accounts === 'all' ? [sql`type = 'credential'`] : []
  const parts: RawBuilder<boolean>[] = accounts === 'all' ? [sql`type = 'account'`] : []
  if (people === 'all') return [...parts, sql`type = 'person'`]
  return people === 'none' ? parts : [...parts, sql`(type = 'person' and directory = ${directory})`]
}

/** One kind of resource as it is listed. */
interface Listing {
  readonly of: 'users' | 'credentials' | 'groups'
  readonly table: 'resource' | 'credential' | 'grp'
  readonly columns: readonly string[]
  /** What else is selected of the row `r`; null for nothing. */
  readonly beside: ((dialect: Dialect) => RawBuilder<unknown>) | null
  readonly source: FilterSource
  /** What every row listed fulfils, under the role's scope. */
  readonly scope: (want: ListQuery) => readonly RawBuilder<boolean>[]
  readonly map: (row: Row) => StoredDocument
}

function groupListing(beside: NonNullable<Listing['beside']>): Listing {
  return {
    of: 'groups',
    table: 'grp',
    columns: documentColumns,
    beside,
    source: groupSource,
    scope({ visibility: { people } }) {
      const living = sql<boolean>`deleted_at is null`
      if (people === 'all') return [living]
      return [living, people === 'none' ? sql`1 = 0` : sql`directory = ${directory}`]
    },
    map: groupFromRow,
  }
}

const listings = {
  users: {
    of: 'users',
    table: 'resource',
    columns: userColumns,
    beside: (dialect) => sql`${groupsOfUser(dialect, 'r')} as groups`,
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
    columns: documentColumns,
    beside: null,
    source: credentialSource,
    scope({ visibility: { accounts } }) {
      if (accounts === 'all') return []
      if (accounts === 'none') return [sql`1 = 0`]
      const scope = visible({ people: 'none', accounts })
      return [sql`account in (select id from resource where tenant = ${tenant} and ${scope})`]
    },
    map: credentialFromRow,
  },
  groups: groupListing((dialect) => sql`${membersOfGroup(dialect, 'r')} as members`),
  bareGroups: groupListing(() => sql`cast(null as text) as members`),
} as const satisfies Readonly<Record<string, Listing>>

/**
 * What may look at many rows runs aside: filters but for equalities that find a handful, orders
 * other than by id, and the scope of one owner or client.
 */
function costOf(want: ListQuery, listing: Listing): Cost {
  if (want.filter !== null && reachOf(want.filter, listing.source) === 'few') return 'light'
  if (want.filter !== null || (want.sort ?? null) !== null) return 'heavy'
  if (listing.of === 'groups') return 'light'
  return counted(want, listing.of) === null ? 'heavy' : 'light'
}

/**
 * The order of a page by id. Under a filter SQLite would rather walk all ids in order than sort the
 * few that a range of another index finds, and search a million rows for ten; only behind an
 * equality it judges right, and only in tables it has statistics of. Hence the hidden column.
 */
function idOrder({ filter }: ListQuery, { of }: Listing, dialect: Dialect): RawBuilder<unknown> {
  const root = filter?.root
  const judgesRight =
    root === undefined || (of !== 'groups' && root.op === 'compare' && root.operator === 'eq')
  return judgesRight ? sql`${sql.ref('id')}` : dialect.unindexed(sql.ref('id'))
}

/** The resources as SCIM shows them: one by id, or a page under a filter and a role's scope. */
export function documentRoom({ db, dialect }: Sql) {
  const user = statement(
    db
      .selectFrom('resource')
      .select([...userColumns, 'directory'])
      .select(groupsOfUser(dialect, 'resource').as('groups'))
      .where('tenant', '=', arg('tenant'))
      .where('id', '=', arg('id'))
      .where('deleted_at', 'is', null),
  )
  const credential = statement(
    db
      .selectFrom('credential')
      .select(documentColumns)
      .where('tenant', '=', arg('tenant'))
      .where('id', '=', arg('id')),
  )
  const group = (members: RawBuilder<string | null>) =>
    statement(
      db
        .selectFrom('grp')
        .select(documentColumns)
        .select(members.as('members'))
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('deleted_at', 'is', null),
    )
  const groups = {
    full: group(membersOfGroup(dialect, 'grp')),
    bare: group(sql`cast(null as text)`),
  }
  const hasMany = statement(
    db
      .selectFrom('member')
      .select('member_id')
      .where('tenant', '=', arg('tenant'))
      .where('group_id', '=', arg('id'))
      .orderBy('member_id')
      .limit(1)
      .offset(membersAside),
  )
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const all = (conditions: readonly RawBuilder<boolean>[]) => sql.join(conditions, sql` and `)

  /** What is selected of the row `r`. */
  function selected({ columns, beside }: Listing): RawBuilder<unknown> {
    const own = sql.join(columns.map((column) => sql.ref(`r.${column}`)))
    return beside === null ? own : sql`${own}, ${beside(dialect)}`
  }

  function matching(want: ListQuery, listing: Listing, cost: Cost): RawBuilder<boolean>[] {
    const conditions = [sql<boolean>`tenant = ${tenant}`, ...listing.scope(want)]
    if (cost === 'heavy' && dialect.mayGoOn !== null) conditions.push(dialect.mayGoOn)
    if (want.filter !== null) conditions.push(filterToSql(want.filter, listing.source, dialect))
    return conditions
  }

  const plans = new WeakMap<Listing, Map<string, Statement>>()

  /** The statement of a shape, compiled once. */
  function planned(listing: Listing, shape: string, make: () => Statement): Statement {
    let known = plans.get(listing)
    if (known === undefined) plans.set(listing, (known = new Map()))
    let found = known.get(shape)
    if (found === undefined) {
      if (known.size >= plansMax) known.delete(known.keys().next().value!)
      known.set(shape, (found = make()))
    }
    return found
  }

  /** One row more than the page holds tells whether there is another page. */
  function rows(
    want: ListQuery,
    listing: Listing,
    key: SortKey | null,
    position: Position | null,
    matches: readonly RawBuilder<boolean>[],
  ): Statement {
    const table = sql.table(listing.table)
    const conditions = [...matches]
    const id = idOrder(want, listing, dialect)
    if (position !== null) {
      const gaps = { key: position.key === null ? null : arg('afterKey'), id: arg('afterId') }
      conditions.push(key === null ? sql`${id} > ${gaps.id}` : isAfter(key, gaps))
    }
    const limits = sql`limit ${arg('limit')} offset ${arg('offset')}`
    const columns = selected(listing)
    // The page is found first, over narrow indexes, and only its documents are fetched.
    if (key === null) {
      return compiled(sql`select ${columns} from ${table} as r where r.tenant = ${tenant}
        and r.id in (select id from ${table} where ${all(conditions)} order by ${id} ${limits})
        order by r.id`)
    }
    return compiled(sql`select ${columns}, page.sort_key from (
        select id, ${key.value} as sort_key from ${table} where ${all(conditions)}
        order by ${orderBy(key, key.value, sql`id`)} ${limits}
      ) as page inner join ${table} as r on r.tenant = ${tenant} and r.id = page.id
      order by ${orderBy(key, sql`page.sort_key`, sql`page.id`)}`)
  }

  function total(
    want: ListQuery,
    listing: Listing,
    matches: () => readonly RawBuilder<boolean>[],
  ): Statement {
    const parts = counted(want, listing.of)
    if (parts === null) {
      return compiled(sql`select count(*) as total from ${sql.table(listing.table)}
        where ${all(matches())}`)
    }
    const scope = parts.length === 0 ? sql`1 = 0` : sql`(${sql.join(parts, sql` or `)})`
    return compiled(sql`select coalesce(sum(total), 0) as total from counter
      where tenant = ${tenant} and ${scope}`)
  }

  /** A page beyond the middle is nearer to the end: fewer rows to skip, and none to count. */
  async function fromEnd(
    query: Query,
    want: ListQuery,
    listing: Listing,
    { shape, args }: FilterShape,
    skip: number,
  ): Promise<Page<StoredDocument> | null> {
    const matches = (): RawBuilder<boolean>[] => matching(want, listing, 'light')
    const totals = planned(listing, `total ${shape}`, () => total(want, listing, matches))
    const [counted] = await query(totals, args)
    const size = Number(counted!['total'])
    if (skip <= size / 2) return null
    const count = Math.min(want.count, size - skip)
    if (count <= 0) return { total: size, rows: [], next: null }
    const backwards = planned(listing, `backwards ${shape}`, () => {
      const table = sql.table(listing.table)
      const conditions = all(matches())
      return compiled(sql`select ${selected(listing)} from ${table} as r
        where r.tenant = ${tenant} and r.id in (select id from ${table} where ${conditions}
          order by id desc limit ${arg('limit')} offset ${arg('offset')})
        order by r.id`)
    })
    const found = await query(backwards, { ...args, limit: count, offset: size - skip - count })
    const last = found.at(-1)
    const next = last !== undefined && skip + count < size ? encodePosition(null, last) : null
    return { total: size, rows: found.map(listing.map), next }
  }

  /**
   * What a name selects is a row or two: they are put in order here. Having SQLite order and limit
   * them costs three times as much as finding them (41 against 14 µs, 2026-11).
   * @returns null when there are more than that
   */
  async function few(
    query: Query,
    want: ListQuery,
    listing: Listing,
    { shape, args }: FilterShape,
  ): Promise<Page<StoredDocument> | null> {
    const statement = planned(listing, `few ${shape}`, () => {
      const conditions = all(matching(want, listing, 'light'))
      const most = sql.lit(fewMax + 1)
      return compiled(sql`select ${selected(listing)} from ${sql.table(listing.table)} as r
        where ${conditions} limit ${most}`)
    })
    const found = await query(statement, args)
    if (found.length > fewMax) return null
    const ordered = found.toSorted((a, b) => (String(a['id']) < String(b['id']) ? -1 : 1))
    const skip = Number(args['offset'])
    const page = ordered.slice(skip, skip + want.count)
    const goesOn = skip + page.length < ordered.length
    const next = goesOn && page.length > 0 ? encodePosition(null, page.at(-1)!) : null
    return { total: ordered.length, rows: page.map(listing.map), next }
  }

  async function list(
    query: Query,
    want: ListQuery,
    listing: Listing,
  ): Promise<Page<StoredDocument>> {
    const cost = costOf(want, listing)
    const sort = want.sort ?? null
    const key = sort === null ? null : sortKey(sort, listing.source, dialect)
    const after = want.after ?? null
    const position = after === null ? null : decodePosition(key, after)
    const { shape, args } = shapeOf(want, position)
    const skip = Number(args['offset'])
    if (key === null && position === null && want.count > 0 && selectsFew(want, listing)) {
      const page = await few(query, want, listing, { shape, args })
      if (page !== null) return page
    }
    if (skip >= deepFrom && cost === 'light' && want.filter === null && want.count > 0) {
      const page = await fromEnd(query, want, listing, { shape, args }, skip)
      if (page !== null) return page
    }
    let made: readonly RawBuilder<boolean>[] | null = null
    const matches = () => (made ??= matching(want, listing, cost))
    const paged = planned(listing, `rows ${shape}`, () =>
      rows(want, listing, key, position, matches()),
    )
    const found = want.count <= 0 ? [] : await query(paged, args, cost)
    const page = found.slice(0, Math.max(0, want.count))
    const goesOn = found.length > page.length
    const next = goesOn ? encodePosition(key, page.at(-1)!) : null
    const documents = page.map(listing.map)
    const places =
      key === null
        ? {}
        : {
            places: page.map((row) => ({ key: row['sort_key']!, after: encodePosition(key, row) })),
          }
    // A list that ends on this page needs no counting: a selective filter then costs one query.
    if (page.length > 0 && !goesOn && after === null) {
      return { total: skip + page.length, rows: documents, next, ...places }
    }
    const totals = planned(listing, `total ${shape}`, () => total(want, listing, matches))
    const [counted] = await query(totals, args, cost)
    return { total: Number(counted!['total']), rows: documents, next, ...places }
  }

  return {
    async userDocument(query: Query, tenant: TenantId, id: string): Promise<StoredUser | null> {
      const [row] = await query(user, { tenant, id })
      if (row === undefined) return null
      return { ...userFromRow(row), directory: row['directory'] as string | null }
    },
    async credentialDocument(query: Query, tenant: TenantId, id: string) {
      const [row] = await query(credential, { tenant, id })
      return row === undefined ? null : credentialFromRow(row)
    },
    async groupDocument(
      query: Query,
      tenant: TenantId,
      id: string,
      { members }: { readonly members: boolean },
    ) {
      // 50 000 members take 20–80 ms to be put together.
      const many = members && (await query(hasMany, { tenant, id })).length > 0
      const cost = many ? 'heavy' : 'light'
      const [row] = await query(members ? groups.full : groups.bare, { tenant, id }, cost)
      return row === undefined ? null : groupFromRow(row)
    },
    listUsers: (query: Query, want: ListQuery) => list(query, want, listings.users),
    listCredentials: (query: Query, want: ListQuery) => list(query, want, listings.credentials),
    listGroups: (query: Query, want: GroupListQuery) =>
      list(query, want, want.members ? listings.groups : listings.bareGroups),
  }
}
