import { sql, type RawBuilder } from 'kysely'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import type { Dialect } from './dialect.ts'
import { filterToSql, type ColumnSource, type FilterSource } from './filter-sql.ts'
import { arg, statement, type Query, type Row, type Sql } from './sql.ts'
import type { ListQuery, Page, StoredDocument, Visibility } from './store.ts'

const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
const lower = (column: string): ColumnSource => ({ column, spelling: 'lower' })
const exact = (column: string): ColumnSource => ({ column, spelling: 'exact' })

const userSource: FilterSource = {
  columns: new Map([
    ['id', lower('id')],
    [
      'userName',
      {
        column: 'user_name',
        spelling: 'exact',
        normalised: 'user_name_norm',
        partialOn: 'deleted_at',
      },
    ],
    ['externalId', { ...exact('external_id'), partialOn: 'deleted_at' }],
    ['active', { ...exact('active'), partialOn: 'deleted_at' }],
    ['meta created', exact('created_at')],
    ['meta lastModified', exact('modified_at')],
    [`${nhi} owner value`, exact('owner_id')],
    [`${nhi} owner type`, exact('owner_type')],
    [`${nhi} environment`, exact('environment')],
    [`${nhi} expiresAt`, exact('expires_at')],
    [`${nhi} status`, lower('status')],
  ]),
  constants: new Map([['meta resourceType', 'User']]),
  beside: { keys: [nhi, 'credentials'], column: 'credentials' },
}

const credentialSource: FilterSource = {
  columns: new Map([
    ['id', lower('id')],
    ['serviceAccount value', lower('account')],
    ['provider', { column: 'provider', spelling: 'exact', normalised: 'provider_norm' }],
    ['kind', lower('kind')],
    ['status', lower('status')],
    ['expiresAt', exact('expires_at')],
    ['meta created', exact('created_at')],
    ['meta lastModified', exact('updated_at')],
  ]),
  constants: new Map([['meta resourceType', 'Credential']]),
  beside: null,
}

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

/**
 * The order of a page. Under a filter SQLite would rather walk all ids in order than sort the few
 * that a range of another index finds, and search a million rows for ten; only behind an equality
 * it judges right. Hence the hidden column.
 */
function pageOrder({ filter }: ListQuery, dialect: Dialect): RawBuilder<unknown> {
  const root = filter?.root
  const judgesRight = root === undefined || (root.op === 'compare' && root.operator === 'eq')
  return judgesRight ? sql.ref('id') : dialect.unindexed(sql.ref('id'))
}

/** Rows of a page only: a total counts everything that matches. */
function behind<T extends { where(column: 'id', operator: '>', value: string): T }>(
  matching: T,
  { after }: ListQuery,
): T {
  return (after ?? null) === null ? matching : matching.where('id', '>', after!)
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

  /** The ids that match; `doc` is fetched only for the rows of the page. */
  function matchingUsers(want: ListQuery) {
    let matching = db
      .selectFrom('resource')
      .where('tenant', '=', want.tenant)
      .where('deleted_at', 'is', null)
    const scope = visible(want.visibility)
    if (scope !== null) matching = matching.where(scope)
    if (want.filter !== null) {
      matching = matching.where(filterToSql(want.filter, userSource, dialect))
    }
    return matching
  }

  function matchingCredentials(want: ListQuery) {
    let matching = db.selectFrom('credential').where('tenant', '=', want.tenant)
    const { accounts } = want.visibility
    if (accounts === 'none') matching = matching.where(sql<boolean>`1 = 0`)
    else if (accounts !== 'all') {
      const scope = visible({ people: 'none', accounts })!
      matching = matching.where('account', 'in', (eb) =>
        eb.selectFrom('resource').select('id').where('tenant', '=', want.tenant).where(scope),
      )
    }
    if (want.filter !== null) {
      matching = matching.where(filterToSql(want.filter, credentialSource, dialect))
    }
    return matching
  }

  async function page(
    query: Query,
    want: ListQuery,
    total: () => ReturnType<typeof statement>,
    rows: () => ReturnType<typeof statement>,
    map: (row: Row) => StoredDocument,
  ): Promise<Page<StoredDocument>> {
    const found = want.count <= 0 ? [] : (await query(rows())).map(map)
    // A page that is not full ends the list: a selective filter then costs one query, not two.
    if ((want.after ?? null) === null && found.length > 0 && found.length < want.count) {
      return { total: Math.max(1, want.startIndex) - 1 + found.length, rows: found }
    }
    const [counted] = await query(total())
    return { total: Number(counted!['total']), rows: found }
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

    listUsers(query: Query, want: ListQuery): Promise<Page<StoredDocument>> {
      const matching = matchingUsers(want)
      const ids = behind(matching, want)
        .select('id')
        .orderBy(pageOrder(want, dialect))
        .limit(want.count)
        .offset(Math.max(1, want.startIndex) - 1)
      return page(
        query,
        want,
        () => statement(matching.select((eb) => eb.fn.countAll<number>().as('total'))),
        () =>
          statement(
            db
              .selectFrom('resource')
              .select(userColumns)
              .where('tenant', '=', want.tenant)
              .where('id', 'in', ids)
              .orderBy('id'),
          ),
        userFromRow,
      )
    },

    listCredentials(query: Query, want: ListQuery): Promise<Page<StoredDocument>> {
      const matching = matchingCredentials(want)
      const ids = behind(matching, want)
        .select('id')
        .orderBy(pageOrder(want, dialect))
        .limit(want.count)
        .offset(Math.max(1, want.startIndex) - 1)
      return page(
        query,
        want,
        () => statement(matching.select((eb) => eb.fn.countAll<number>().as('total'))),
        () =>
          statement(
            db
              .selectFrom('credential')
              .select(credentialColumns)
              .where('tenant', '=', want.tenant)
              .where('id', 'in', ids)
              .orderBy('id'),
          ),
        credentialFromRow,
      )
    },
  }
}
