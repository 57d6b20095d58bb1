import { setImmediate } from 'node:timers/promises'
import { sql, type RawBuilder } from 'kysely'
import type { Group, GroupState, Member } from '../domain/group.ts'
import type { TenantId } from '../domain/ids.ts'
import { normalise } from '../domain/text.ts'
import { mapping } from './mapping.ts'
import { hasActive, liveNow, refreshAround, around } from './membership.ts'
import {
  arg,
  first,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Row,
  type Sql,
  type Steps,
} from './sql.ts'
import type { Change, DocumentCodec, MemberTarget } from './store.ts'
import { putVersioned } from './versioned.ts'

type MembersChange = Extract<Change, { readonly type: 'members' }>
type SwitchedChange = Extract<Change, { readonly type: 'memberSwitched' }>
type Work = () => Steps<Refusal | null>

/** Ids per `in (…)`: a PATCH may name 5 000, and each number of them is a statement of its own. */
const chunkSize = 500

const groups = mapping<Omit<Group, 'attributes'>>({
  tenant: 'tenant',
  id: 'id',
  directory: 'directory',
  client: 'client',
  displayName: 'display_name',
  externalId: 'external_id',
  emptiedAt: 'emptied_at',
  deletedAt: 'deleted_at',
  createdAt: 'created_at',
  updatedAt: 'updated_at',
  version: 'version',
})
const groupColumns = [...groups.columns, 'display_name_norm', 'doc', 'summary'] as const

function groupRow(group: Group, codec: DocumentCodec): Row {
  return {
    ...groups.toRow(group),
    display_name_norm: normalise(group.displayName),
    doc: codec.group(group),
    summary: codec.groupSummary(group),
    version: 1,
  }
}

export function groupFromRow(row: Row, codec: DocumentCodec): Group {
  // A person keeps its displayName among the attributes, a group has a field for it.
  const { displayName: _, ...attributes } = codec.attributes(row['doc'] as string)
  return { ...groups.fromRow(row), attributes }
}

function memberFromRow(row: Row): Member {
  return {
    id: row['member_id'] as string,
    type: row['type'] as Member['type'],
    display: row['display'] as string | null,
  }
}

function statements({ db, dialect }: Sql) {
  const tenant = sql<string>`${arg('tenant')}`
  const group = db.selectFrom('grp').selectAll().where('tenant', '=', arg('tenant'))
  const member = db
    .selectFrom('member')
    .select(['member_id', 'type', 'display'])
    .where('tenant', '=', arg('tenant'))
    .where('group_id', '=', arg('group'))
  const writable = ['display_name', 'display_name_norm', 'external_id', 'deleted_at'] as const
  const start = sql`${arg('start')}`
  const compiled = (query: RawBuilder<unknown>) => statement({ compile: () => query.compile(db) })
  const given = dialect.json.elements(dialect.json.document(sql`${arg('list')}`), [], 'e')
  const idsGiven = sql`select ${given.plain('text')} from ${given.from}`
  const membersOf = sql`delete from member where tenant = ${tenant} and group_id = ${arg('group')}`

  return {
    insert: statement(db.insertInto('grp').values(gaps(groupColumns))),
    update: statement(
      db
        .updateTable('grp')
        .set(gaps([...writable, 'updated_at', 'doc', 'summary']))
        .set({ version: sql<number>`version + 1` })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('version', '=', arg<number>('expected')),
    ),
    exists: statement(
      db
        .selectFrom('grp')
        .select(['id', 'version', 'deleted_at'])
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    nameTaken: statement(
      db
        .selectFrom('grp')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('directory', '=', arg('directory'))
        .where('display_name_norm', '=', arg('display_name_norm'))
        .where('deleted_at', 'is', null)
        .where('id', '<>', arg('id')),
    ),
    externalIdTaken: statement(
      db
        .selectFrom('grp')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('external_id', '=', arg('external_id'))
        .where('client', '=', arg('client'))
        .where('deleted_at', 'is', null)
        .where('id', '<>', arg('id')),
    ),
    touch: statement(
      db
        .updateTable('grp')
        .set({ version: sql<number>`version + 1`, updated_at: arg('at') })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('group')),
    ),
    touchAround: statement(
      db
        .updateTable('grp')
        .set({ version: sql<number>`version + 1`, updated_at: arg('at') })
        .where('tenant', '=', arg('tenant'))
        .where('id', 'in', (eb) =>
          eb
            .selectFrom('member')
            .select('group_id')
            .where('tenant', '=', arg('tenant'))
            .where('member_id', '=', arg('member')),
        ),
    ),
    leaveAll: statement(
      db
        .deleteFrom('member')
        .where('tenant', '=', arg('tenant'))
        .where('member_id', '=', arg('member')),
    ),
    removeOthers: compiled(sql`${membersOf} and member_id not in (${idsGiven})`),
    empty: compiled(membersOf),
    remove: compiled(sql`${membersOf} and member_id in (${idsGiven})`),
    // One statement in the order of the key: 5 000 rows one after the other held the writer for
    // 330 ms, together for 43 (2026-11). The condition keeps SQLite from reading "on" as a join's.
    add: compiled(sql`insert into member (tenant, group_id, member_id, type, display, doc, live)
      select ${tenant}, ${arg('group')}, x.id, x.type, x.display, x.doc,
        ${liveNow(tenant, sql`${arg('group')}`, sql.ref('x.id'))}
      from ${dialect.records(sql`${arg('list')}`, ['id', 'type', 'display', 'doc'], 'x')}
      where 1 = 1 order by x.id
      on conflict (tenant, group_id, member_id) do nothing`),
    relive: statement(
      db
        .updateTable('member')
        .set({
          live: liveNow(
            sql.ref('member.tenant'),
            sql.ref('member.group_id'),
            sql.ref('member.member_id'),
          ),
        })
        .where('tenant', '=', arg('tenant'))
        .where('member_id', '=', arg('member')),
    ),
    // Since when a group is empty is a fact of its own: two looks an hour apart could both find it
    // empty and miss that it was not in between.
    refresh: compiled(refreshAround(start, tenant, sql`${arg('at')}`)),

    group: statement(group.where('id', '=', arg('id'))),
    state: statement(
      group
        .select(sql<number>`case when ${hasActive('grp')} then 1 else 0 end`.as('has_active'))
        .where('id', '=', arg('id')),
    ),
    members: statement(
      member.where('member_id', '>', arg('after')).orderBy('member_id').limit(arg<number>('limit')),
    ),
    groupsOf: statement(
      db
        .selectFrom('member as m')
        .crossJoin('grp as g')
        .crossJoin('resource as p')
        .select(['g.id as id', 'g.display_name as display_name'])
        .where('m.tenant', '=', arg('tenant'))
        .where('m.member_id', '=', arg('person'))
        .whereRef('g.tenant', '=', 'm.tenant')
        .whereRef('g.id', '=', 'm.group_id')
        .where('g.deleted_at', 'is', null)
        .whereRef('p.tenant', '=', 'm.tenant')
        .whereRef('p.id', '=', 'm.member_id')
        .whereRef('p.directory', '=', 'g.directory')
        .orderBy('g.id'),
    ),
    groupsAround: statement(
      db
        .selectFrom('grp')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('deleted_at', 'is', null)
        .where(sql<boolean>`id in (${around(start, tenant)})`)
        .where(
          sql<boolean>`directory = (select p.directory from resource as p where p.tenant = grp.tenant and p.id = ${arg('start')} and p.type = 'person')`,
        )
        .orderBy('id'),
    ),
  }
}

/** Groups, who is in them, and since when nobody active is. */
export function groupRoom(context: Sql, codec: DocumentCodec) {
  const { db } = context
  const s = statements(context)

  function* clash(row: Row): Steps<Refusal | null> {
    const named = yield* first(s.nameTaken, row)
    if (named !== null) return { reason: 'displayName', with: named['id'] as string }
    if (row['external_id'] === null) return null
    const external = yield* first(s.externalIdTaken, row)
    return external === null ? null : { reason: 'externalId', with: external['id'] as string }
  }

  const groupSteps = { insert: s.insert, update: s.update, exists: s.exists, clash }

  function* change(want: MembersChange, added: string): Steps<Refusal | null> {
    const { tenant, group, at } = want
    const found = yield* first(s.exists, { tenant, id: group })
    // A group that is gone still loses members in parts, and gets none.
    const isGone = found !== null && found['deleted_at'] !== null && want.add.length > 0
    if (found === null || isGone) return { reason: 'missing', with: group }
    if (want.expectedVersion !== null && found['version'] !== want.expectedVersion) {
      return { reason: 'version', with: group }
    }
    let changes = 0
    const some = { tenant, group }
    if (want.replace) {
      const keeps = want.add.length > 0
      const list = JSON.stringify(want.add.map((member) => member.id))
      changes += (yield* run(keeps ? s.removeOthers : s.empty, { ...some, list })).changes
    } else if (want.remove.length > 0) {
      const list = JSON.stringify(want.remove)
      changes += (yield* run(s.remove, { ...some, list })).changes
    }
    if (want.add.length > 0) changes += (yield* run(s.add, { ...some, list: added })).changes
    if (changes === 0) return null
    yield* run(s.touch, { tenant, group, at })
    yield* run(s.refresh, { tenant, start: group, at })
    return null
  }

  async function byChunks(
    query: Query,
    ids: readonly string[],
    read: (chunk: readonly string[]) => ReturnType<typeof statement>,
  ): Promise<readonly Row[]> {
    const rows: Row[] = []
    for (let at = 0; at < ids.length; at += chunkSize) {
      // SQLite answers at once: without a turn in between all chunks would be one.
      if (at > 0) await setImmediate()
      rows.push(...(await query(read(ids.slice(at, at + chunkSize)))))
    }
    return rows
  }

  const toGroup = (row: Row): Group => groupFromRow(row, codec)

  return {
    putGroup(group: Group, expected: number | null): Work {
      const row = groupRow(group, codec)
      return () => putVersioned(groupSteps, row, expected)
    },
    changeMembers(want: MembersChange): Work {
      const added = JSON.stringify(
        want.add.map((member) => ({ ...member, doc: codec.member(member) })),
      )
      return () => change(want, added)
    },
    memberSwitched({ tenant, member, gone, at }: SwitchedChange): Work {
      return function* memberSwitched() {
        yield* run(s.relive, { tenant, member })
        yield* run(s.refresh, { tenant, start: member, at })
        if (gone) {
          yield* run(s.touchAround, { tenant, member, at })
          yield* run(s.leaveAll, { tenant, member })
        }
        return null
      }
    },

    async group(query: Query, tenant: TenantId, id: string): Promise<Group | null> {
      const [row] = await query(s.group, { tenant, id })
      return row === undefined ? null : toGroup(row)
    },
    async groupState(query: Query, tenant: TenantId, id: string): Promise<GroupState | null> {
      const [row] = await query(s.state, { tenant, id })
      if (row === undefined) return null
      return { group: toGroup(row), active: row['has_active'] === 1 && row['deleted_at'] === null }
    },
    async members(
      query: Query,
      tenant: TenantId,
      group: string,
      after: string | null,
      limit: number,
    ): Promise<readonly Member[]> {
      const rows = await query(s.members, { tenant, group, after: after ?? '', limit })
      return rows.map(memberFromRow)
    },
    async membersAmong(query: Query, tenant: TenantId, group: string, ids: readonly string[]) {
      const rows = await byChunks(query, ids, (chunk) =>
        statement(
          db
            .selectFrom('member')
            .select(['member_id', 'type', 'display'])
            .where('tenant', '=', tenant)
            .where('group_id', '=', group)
            .where('member_id', 'in', chunk),
        ),
      )
      return rows.map(memberFromRow)
    },
    async memberTargets(
      query: Query,
      tenant: TenantId,
      ids: readonly string[],
    ): Promise<readonly MemberTarget[]> {
      const people = await byChunks(query, ids, (chunk) =>
        statement(
          db
            .selectFrom('resource')
            .select(['id', 'directory'])
            .where('tenant', '=', tenant)
            .where('id', 'in', chunk)
            .where('type', '=', sql.lit('person'))
            .where('deleted_at', 'is', null),
        ),
      )
      const accounts = await byChunks(query, ids, (chunk) =>
        statement(
          db
            .selectFrom('resource')
            .select(['id', 'directory'])
            .where('tenant', '=', tenant)
            .where('id', 'in', chunk)
            .where('type', '=', sql.lit('account'))
            .where('deleted_at', 'is', null),
        ),
      )
      const nested = await byChunks(query, ids, (chunk) =>
        statement(
          db
            .selectFrom('grp')
            .select(['id', 'directory'])
            .where('tenant', '=', tenant)
            .where('id', 'in', chunk)
            .where('deleted_at', 'is', null),
        ),
      )
      const target =
        (type: MemberTarget['type']) =>
        (row: Row): MemberTarget => ({
          id: row['id'] as string,
          type,
          directory: row['directory'] as string | null,
        })
      return [...[...people, ...accounts].map(target('User')), ...nested.map(target('Group'))]
    },
    async groupsOf(query: Query, tenant: TenantId, person: string) {
      const rows = await query(s.groupsOf, { tenant, person })
      return rows.map((row) => ({
        id: row['id'] as string,
        displayName: row['display_name'] as string,
      }))
    },
    async groupsAround(query: Query, tenant: TenantId, person: string) {
      const rows = await query(s.groupsAround, { tenant, start: person }, 'steady')
      return rows.map((row) => row['id'] as string)
    },
  }
}
