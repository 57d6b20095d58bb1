import { sql, type RawBuilder } from 'kysely'
import type { AccountStatus } from '../domain/account.ts'
import { normalise } from '../domain/text.ts'
import { accountFromRow, credentialFromRow, personFromRow } from './entity-rows.ts'
import type { AccountQuery, CredentialQuery, PersonQuery } from './report-store.ts'
import { statement, type Query, type Row, type Sql, type Statement } from './sql.ts'
import type { DocumentCodec } from './store.ts'

type Condition = RawBuilder<boolean>

/** States that few accounts are in: they are the shorter way even to the accounts of a name. */
const fewIn: readonly AccountStatus[] = [
  'requested',
  'provisioning',
  'disabling',
  'retiring',
  'orphaned',
  'expired',
  'failed',
]

/** What begins with a text lies from it to before this; `normalise` leaves nothing beyond. */
const beyond = '\u{10ffff}'

const all = (conditions: readonly Condition[]) => sql.join(conditions, sql` and `)
const beginsWith = (column: string, prefix: string): Condition =>
  sql<boolean>`(${sql.ref(column)} >= ${prefix} and ${sql.ref(column)} < ${prefix + beyond})`

/** By what a list is ordered, before the id: in this order an index finds its next page. */
type Order = 'id' | 'name' | 'end'
const columnOf = { name: 'user_name_norm', end: 'expires_at' } as const

/** The console's lists: each page is found behind the last one, through one index. */
export function listingRoom({ db, dialect }: Sql, codec: DocumentCodec) {
  const compiled = (query: RawBuilder<unknown>): Statement =>
    statement({ compile: () => query.compile(db) })

  /**
   * Where the row of a cursor stands. Of what the asker may not see it is unknown, as of what is not
   * there: pages behind it would tell of its name or its end.
   */
  async function placeOf(
    query: Query,
    { tenant, after }: Pick<AccountQuery, 'tenant' | 'after'>,
    isTheirs: readonly (Condition | null)[],
  ): Promise<Row | null> {
    const ways = isTheirs.filter((way) => way !== null)
    const seen = ways.length === 0 ? sql`` : sql` and (${sql.join(ways, sql` or `)})`
    const [row] = await query(
      compiled(sql`select user_name_norm, expires_at, display_norm from resource
        where tenant = ${tenant} and id = ${after}${seen}`),
    )
    return row ?? null
  }

  function orderOf(want: AccountQuery): Order {
    if (want.expiresFrom !== undefined || want.expiresBefore !== undefined) return 'end'
    const isByName = want.prefix !== undefined && want.owner === undefined
    if (!isByName || want.transfers === true) return 'id'
    return want.status !== undefined && fewIn.includes(want.status) ? 'id' : 'name'
  }

  function conditionsOf(want: AccountQuery): readonly Condition[] {
    const { tenant, owner, status, prefix, expiresFrom, expiresBefore } = want
    const conditions: Condition[] = [sql<boolean>`tenant = ${tenant}`]
    // Nothing but an account is on offer; with its type as well, another index would look as good.
    if (want.transfers === true) conditions.push(sql<boolean>`pending_owner_id is not null`)
    else if (want.seenBy === undefined) conditions.push(sql<boolean>`type = 'account'`)
    if (owner !== undefined) {
      conditions.push(sql<boolean>`owner_id is not null and owner_id = ${owner}`)
    }
    if (status !== undefined) {
      conditions.push(sql<boolean>`status is not null and status = ${status}`)
    }
    if (prefix !== undefined) conditions.push(beginsWith('user_name_norm', normalise(prefix)))
    if (status === undefined && orderOf(want) === 'end') {
      conditions.push(sql<boolean>`status in ('provisioning', 'active', 'orphaned')`)
    }
    if (expiresFrom !== undefined) conditions.push(sql<boolean>`expires_at >= ${expiresFrom}`)
    if (expiresBefore !== undefined) conditions.push(sql<boolean>`expires_at < ${expiresBefore}`)
    return conditions
  }

  /** Each way by which somebody sees accounts has an index, but for nominations: few ask by them. */
  function waysOf({ seenBy }: Pick<AccountQuery, 'seenBy'>): readonly (Condition | null)[] {
    if (seenBy === undefined) return [null]
    const { client, owners, nominated } = seenBy
    const ways: Condition[] = [sql<boolean>`type = 'account' and client = ${client}`]
    if (owners.length === 0) return ways
    // Only accounts have either; with their type as well, SQLite would walk all of them instead.
    ways.push(
      sql<boolean>`owner_id is not null and owner_id in (${sql.join(owners)})`,
      sql<boolean>`pending_owner_id is not null and pending_owner_id in (${sql.join(owners)})`,
    )
    if (nominated) {
      const named = owners.map((id) => dialect.contains(sql`facts`, sql`${`"id":"${id}"`}`))
      ways.push(sql<boolean>`type = 'account' and (${sql.join(named, sql` or `)})`)
    }
    return ways
  }

  return {
    async accounts(query: Query, want: AccountQuery) {
      const order = orderOf(want)
      const conditions = [...conditionsOf(want)]
      if (want.after !== null) {
        const place = order === 'id' ? {} : await placeOf(query, want, waysOf(want))
        if (place === null) return []
        conditions.push(
          order === 'id'
            ? sql<boolean>`id > ${want.after}`
            : sql<boolean>`(${sql.ref(columnOf[order])}, id) > (${place[columnOf[order]]}, ${want.after})`,
        )
      }
      const by = order === 'id' ? sql`id` : sql`${sql.ref(columnOf[order])}, id`
      const ways = waysOf(want)
      const page = (way: Condition | null) =>
        sql`select id from resource where ${all(way === null ? conditions : [...conditions, way])}
          order by ${by} limit ${want.limit}`
      const ids =
        ways.length === 1
          ? page(ways[0]!)
          : sql.join(
              ways.map((way, i) => sql`select id from (${page(way)}) as ${sql.id(`w${i}`)}`),
              sql` union `,
            )
      const isNarrow = ways.length === 1 && conditions.length <= 4
      const rows = await query(
        compiled(sql`select * from resource where tenant = ${want.tenant} and id in (${ids})
          order by ${by} limit ${want.limit}`),
        {},
        isNarrow ? 'light' : 'heavy',
      )
      return rows.map((row) => accountFromRow(row, codec))
    },

    async credentials(query: Query, want: CredentialQuery) {
      const conditions: Condition[] = [sql<boolean>`tenant = ${want.tenant}`]
      if (want.account !== undefined) conditions.push(sql<boolean>`account = ${want.account}`)
      if (want.status !== undefined) conditions.push(sql<boolean>`status = ${want.status}`)
      if (want.after !== null) conditions.push(sql<boolean>`id > ${want.after}`)
      const ways = waysOf(want).filter((way) => way !== null)
      if (ways.length > 0) {
        const seen = ways.map(
          (way) => sql`select id from resource where tenant = ${want.tenant}
            and deleted_at is null and ${way}`,
        )
        conditions.push(sql<boolean>`account in (${sql.join(seen, sql` union `)})`)
      }
      const rows = await query(
        compiled(sql`select * from credential where ${all(conditions)}
          order by id limit ${want.limit}`),
        {},
        ways.length === 0 ? 'light' : 'heavy',
      )
      return rows.map((row) => credentialFromRow(row))
    },

    async people(query: Query, want: PersonQuery) {
      const { tenant, directory, prefix, after, limit } = want
      const base: Condition[] = [sql<boolean>`tenant = ${tenant}`, sql<boolean>`type = 'person'`]
      base.push(
        directory === undefined
          ? sql<boolean>`(deleted_at is null or held_by is not null)`
          : sql<boolean>`deleted_at is null and directory = ${directory}`,
      )
      const page = async (conditions: readonly Condition[], by: RawBuilder<unknown>, n: number) => {
        const text = compiled(sql`select * from resource where ${all([...base, ...conditions])}
          order by ${by} limit ${n}`)
        return (await query(text)).map((row) => personFromRow(row, codec))
      }
      if (prefix === undefined) {
        return page(after === null ? [] : [sql<boolean>`id > ${after}`], sql`id`, limit)
      }
      const name = normalise(prefix)
      // One who is deleted meanwhile has a place still.
      const theirs =
        directory === undefined
          ? sql<boolean>`type = 'person'`
          : sql<boolean>`(type = 'person' and directory = ${directory})`
      const place = after === null ? null : await placeOf(query, want, [theirs])
      if (after !== null && place === null) return []
      const behind = (column: string): Condition[] =>
        place === null
          ? []
          : [sql<boolean>`(${sql.ref(column)}, id) > (${place[column]!}, ${after})`]
      const isBeyondNames = place !== null && !String(place['user_name_norm']).startsWith(name)
      const named = isBeyondNames
        ? []
        : await page(
            [beginsWith('user_name_norm', name), ...behind('user_name_norm')],
            sql`user_name_norm, id`,
            limit,
          )
      if (named.length === limit) return named
      const isNamed = beginsWith('user_name_norm', name)
      const shown = await page(
        [
          sql<boolean>`display_norm is not null`,
          beginsWith('display_norm', name),
          sql<boolean>`not ${isNamed}`,
          ...(isBeyondNames ? behind('display_norm') : []),
        ],
        sql`display_norm, id`,
        limit - named.length,
      )
      return [...named, ...shown]
    },
  }
}
