import { sql, type RawBuilder } from 'kysely'
import type { Dialect } from './dialect.ts'
import type { Beside } from './sources.ts'

const always = sql<boolean>`1 = 1`

/**
 * The array of a person's groups, null when there are none; `person` names the row of `resource`.
 * The order of the join is fixed: SQLite would rather begin with all groups of the directory.
 */
export function groupsOfUser(dialect: Dialect, person: string): RawBuilder<string | null> {
  const array = dialect.jsonArray(sql.ref('g.summary'), sql.ref('g.id'))
  const own = (column: string) => sql.ref(`${person}.${column}`)
  return sql`nullif((select ${array} from member as m cross join grp as g
    where m.tenant = ${own('tenant')} and m.member_id = ${own('id')}
      and g.tenant = m.tenant and g.id = m.group_id
      and g.deleted_at is null and g.directory = ${own('directory')}), '[]')`
}

/** The array of a group's members, null when there are none; `group` names the row of `grp`. */
export function membersOfGroup(dialect: Dialect, group: string): RawBuilder<string | null> {
  const array = dialect.jsonArray(sql.ref('m.doc'), sql.ref('m.member_id'))
  const own = (column: string) => sql.ref(`${group}.${column}`)
  return sql`nullif((select ${array} from member as m
    where m.tenant = ${own('tenant')} and m.group_id = ${own('id')}), '[]')`
}

/** `groups` of a User in a filter. */
export const groupsBeside: Beside = {
  keys: ['groups'],
  elements(dialect, alias) {
    const group = `${alias}g`
    return {
      from: sql`member as ${sql.id(alias)} join grp as ${sql.id(group)}
        on ${sql.ref(`${group}.tenant`)} = ${sql.ref(`${alias}.tenant`)}
        and ${sql.ref(`${group}.id`)} = ${sql.ref(`${alias}.group_id`)}
        and ${sql.ref(`${alias}.tenant`)} = resource.tenant
        and ${sql.ref(`${alias}.member_id`)} = resource.id
        and ${sql.ref(`${group}.deleted_at`)} is null
        and ${dialect.unindexed(sql.ref(`${group}.directory`))} = resource.directory`,
      object: dialect.json.document(sql.ref(`${group}.summary`)),
      plain: () => sql.ref(`${alias}.group_id`),
      hasValue: always,
      isPresent: always,
      position: sql.ref(`${alias}.group_id`),
    }
  },
}

/** `members` of a Group in a filter. */
export const membersBeside: Beside = {
  keys: ['members'],
  elements: (dialect, alias) => ({
    // The condition stands in a join of its own, so that what follows `where` stays one term.
    from: sql`(select 1 as one) as ${sql.id(`${alias}o`)} join member as ${sql.id(alias)}
      on ${sql.ref(`${alias}.tenant`)} = grp.tenant and ${sql.ref(`${alias}.group_id`)} = grp.id`,
    object: dialect.json.document(sql.ref(`${alias}.doc`)),
    plain: () => sql.ref(`${alias}.member_id`),
    hasValue: always,
    isPresent: always,
    position: sql.ref(`${alias}.member_id`),
  }),
}

/**
 * Whether a group has an active person in it, directly or through groups of its directory. `union`
 * drops what was seen before, so groups that contain each other end the walk.
 */
export function hasActive(group: string): RawBuilder<boolean> {
  const outer = (column: string) => sql.ref(`${group}.${column}`)
  return sql`exists (
    with recursive below (id) as (
      select ${outer('id')}
      union
      select n.member_id from below as b
      cross join member as n
      cross join grp as c
      where n.tenant = ${outer('tenant')} and n.group_id = b.id and n.type = 'Group'
        and c.tenant = n.tenant and c.id = n.member_id
        and c.deleted_at is null and c.directory = ${outer('directory')}
    )
    select 1 from below as b
    cross join member as m
    where m.tenant = ${outer('tenant')} and m.group_id = b.id and m.live = 1)`
}

/** `member.live` as the rows of the person and the group have it. */
export function liveNow(
  tenant: RawBuilder<unknown>,
  group: RawBuilder<unknown>,
  member: RawBuilder<unknown>,
): RawBuilder<number> {
  return sql`case when exists (
    select 1 from resource as p
    cross join grp as g
    where p.tenant = ${tenant} and p.id = ${member}
      and p.type = 'person' and ((p.active = 1 and p.deleted_at is null) or p.held_by is not null)
      and g.tenant = ${tenant} and g.id = ${group} and g.directory = p.directory) then 1 else 0 end`
}

/**
 * The ids of all groups around `start`, and its own when it is a group. No step leaves a directory:
 * another one's group that was named by its id lends nobody what its members own. It begins with
 * columns and not with the parameter: PostgreSQL wants one collation throughout a recursion.
 */
export function around(
  start: RawBuilder<unknown>,
  tenant: RawBuilder<unknown>,
): RawBuilder<unknown> {
  return sql`with recursive above (id) as (
      select g.id from grp as g where g.tenant = ${tenant} and g.id = ${start}
      union
      select m.group_id from member as m where m.tenant = ${tenant} and m.member_id = ${start}
      union
      select m.group_id from above as a
      cross join member as m
      cross join grp as inside
      cross join grp as outside
      where m.tenant = ${tenant} and m.member_id = a.id
        and inside.tenant = m.tenant and inside.id = a.id and inside.deleted_at is null
        and outside.tenant = m.tenant and outside.id = m.group_id and outside.deleted_at is null
        and outside.directory = inside.directory
    ) select id from above`
}

/** The given ids, and those of all who are in the groups among them, directly or through others. */
export function within(
  given: RawBuilder<unknown>,
  tenant: RawBuilder<unknown>,
): RawBuilder<unknown> {
  return sql`with recursive inside (id) as (
      select g.id from grp as g where g.tenant = ${tenant} and g.id in (${given})
      union
      select n.member_id from inside as b
      cross join member as n
      cross join grp as o
      cross join grp as c
      where n.tenant = ${tenant} and n.group_id = b.id and n.type = 'Group'
        and o.tenant = n.tenant and o.id = b.id
        and c.tenant = n.tenant and c.id = n.member_id
        and c.deleted_at is null and c.directory = o.directory
    ) select m.member_id from inside as i
      cross join member as m where m.tenant = ${tenant} and m.group_id = i.id and m.type = 'User'
    union all ${given}`
}

/**
 * Brings `emptied_at` of all groups around `start` up to date: who is active is found once for all
 * of them, up from the groups below that have active people. Asking each one for itself held the
 * writer for minutes when 500 groups contained a hundred of each other.
 */
export function refreshAround(
  start: RawBuilder<unknown>,
  tenant: RawBuilder<unknown>,
  at: RawBuilder<unknown>,
): RawBuilder<unknown> {
  return sql`with recursive surroundings (id) as (select id from (${around(start, tenant)}) as s),
    below (id) as (
      select id from surroundings
      union
      select n.member_id from below as b
      cross join grp as o
      cross join member as n
      cross join grp as c
      where o.tenant = ${tenant} and o.id = b.id
        and n.tenant = o.tenant and n.group_id = b.id and n.type = 'Group'
        and c.tenant = n.tenant and c.id = n.member_id
        and c.deleted_at is null and c.directory = o.directory
    ),
    peopled (id) as (
      select b.id from below as b where exists (
        select 1 from member as m where m.tenant = ${tenant} and m.group_id = b.id and m.live = 1)
      union
      select n.group_id from peopled as a
      cross join member as n
      cross join grp as c
      cross join grp as o
      where n.tenant = ${tenant} and n.member_id = a.id
        and c.tenant = n.tenant and c.id = a.id and c.deleted_at is null
        and o.tenant = n.tenant and o.id = n.group_id and o.directory = c.directory
    )
    update grp set emptied_at = case
      when id in (select id from peopled) then null else coalesce(emptied_at, ${at}) end
    where tenant = ${tenant} and id in (select id from surroundings)`
}
