import { describe, expect, it } from 'vitest'
import type { Group, Member } from '../../src/domain/group.ts'
import { defaultTenant as tenant, type ClientId, type TenantId } from '../../src/domain/ids.ts'
import type { Person } from '../../src/domain/owner.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { BoundNode } from '../../src/scim/filter.ts'
import type { Change, GroupListQuery, Store } from '../../src/store/store.ts'
import { makeAccount, makeGroup, makeId, makePerson, t0, unique } from '../support/entities.ts'
import { attribute, bound, compare } from './store-filters.ts'

const later = addSeconds(t0, 60)
const exact = { caseExact: true } as const

const put = (group: Group, expectedVersion: number | null = null): Change => ({
  type: 'group',
  group,
  expectedVersion,
})
const putPerson = (person: Person, expectedVersion: number | null = null): Change => ({
  type: 'person',
  person,
  expectedVersion,
})
const user = (id: string, display: string | null = null): Member => ({ id, type: 'User', display })
const nested = (id: string): Member => ({ id, type: 'Group', display: null })
type MembersChange = Extract<Change, { type: 'members' }>
const members = (group: Group, change: Partial<MembersChange>): MembersChange => ({
  type: 'members',
  tenant,
  group: group.id,
  expectedVersion: null,
  replace: false,
  add: [],
  remove: [],
  at: later,
  ...change,
})
const switched = (member: string, gone = false): Change => ({
  type: 'memberSwitched',
  tenant,
  member,
  gone,
  at: later,
})

/** Groups, memberships both ways, and since when a group is empty. */
export function groupConformance(current: () => Store): void {
  describe('groups', () => {
    const save = async (...changes: Change[]) =>
      expect(await current().commit(changes)).toBe('saved')
    const read = () => current().read
    const idsIn = async (group: Group) =>
      (await read().members(tenant, group.id, null, 100)).map((m) => m.id)
    const emptied = async (group: Group) => (await read().group(tenant, group.id))!.emptiedAt
    const isActive = async (group: Group) => (await read().groupState(tenant, group.id))!.active

    it('gives a deleted group no members, and lets those it has go', async () => {
      const [early, late] = [makePerson(), makePerson()]
      const group = makeGroup()
      await save(putPerson(early), putPerson(late), put(group))
      await save(members(group, { add: [user(early.id)] }))
      const { version } = (await read().group(tenant, group.id))!
      await save(put({ ...group, deletedAt: later }, version))

      const refused = await current().commit([members(group, { add: [user(late.id)] })])
      await save(members(group, { remove: [early.id] }))

      expect(refused).toMatchObject({ reason: 'missing', with: group.id })
      expect(await idsIn(group)).toEqual([])
    })

    it('notices that a group is empty although all of it leaves at once', async () => {
      const people = Array.from({ length: 8 }, () => makePerson())
      const group = makeGroup()
      await save(
        ...people.map((p) => putPerson(p)),
        put(group),
        members(group, { add: people.map((p) => user(p.id)) }),
      )
      expect(await emptied(group)).toBeNull()

      const left = people.map((p) =>
        current().commit([putPerson({ ...p, active: false }, 1), switched(p.id)]),
      )
      expect(new Set(await Promise.all(left))).toEqual(new Set(['saved']))
      expect(await emptied(group)).toBe(later)
      expect(await isActive(group)).toBe(false)
    })

    it('keeps one of two replacements that were planned on the same members', async () => {
      const people = [makePerson(), makePerson()]
      const group = makeGroup()
      await save(...people.map((p) => putPerson(p)), put(group))

      const results = await Promise.all(
        people.map(({ id }) =>
          current().commit([
            members(group, { expectedVersion: 1, replace: true, add: [user(id)] }),
          ]),
        ),
      )
      expect(results.filter((r) => r === 'saved')).toHaveLength(1)
      expect(await idsIn(group)).toHaveLength(1)
    })

    it('gives a group back as it was put, and null elsewhere', async () => {
      const group = makeGroup({ externalId: 'g-1', displayName: 'Ängstliche' })
      await save(put(group))

      expect(await read().group(tenant, group.id)).toEqual(group)
      expect(await read().group('other' as TenantId, group.id)).toBeNull()
      expect(await read().group(tenant, makeId())).toBeNull()
      expect(await read().groupState(tenant, makeId())).toBeNull()
    })

    it('updates under a version and names what stands in the way', async () => {
      const displayName = unique('Ops')
      const group = makeGroup({ displayName, externalId: unique('x') })
      await save(put(group))

      await save(put({ ...group, displayName: `${displayName} 2`, updatedAt: later }, 1))
      expect(await read().group(tenant, group.id)).toMatchObject({ version: 2, updatedAt: later })
      expect(await current().commit([put(group, 1)])).toMatchObject({ reason: 'version' })
      expect(await current().commit([put(makeGroup(), 1)])).toMatchObject({ reason: 'missing' })
      expect(await current().commit([put(group)])).toMatchObject({ reason: 'version' })
    })

    it('keeps displayName unique in its directory, whatever its case, until it is deleted', async () => {
      const displayName = unique('Ops')
      const group = makeGroup({ displayName })
      const same = makeGroup({ displayName: displayName.toUpperCase() })
      await save(put(group), put(makeGroup({ displayName, directory: 'other' })))

      expect(await current().commit([put(same)])).toEqual({
        change: 0,
        reason: 'displayName',
        with: group.id,
      })
      await save(put({ ...group, deletedAt: later }, 1), put(same))
    })

    it('keeps externalId unique per client', async () => {
      const externalId = unique('x')
      const group = makeGroup({ externalId })
      await save(put(group), put(makeGroup({ externalId, client: 'other' as ClientId })))

      expect(await current().commit([put(makeGroup({ externalId }))])).toMatchObject({
        reason: 'externalId',
        with: group.id,
      })
    })

    it('adds, removes and replaces members; the version moves only when a row did', async () => {
      const group = makeGroup()
      const [a, b, c] = [makeId(), makeId(), makeId()]
      await save(put(group), members(group, { add: [user(a, 'A'), user(b)] }))
      expect(await read().members(tenant, group.id, null, 10)).toEqual([user(a, 'A'), user(b)])
      expect(await read().members(tenant, group.id, a, 10)).toEqual([user(b)])
      expect(await read().group(tenant, group.id)).toMatchObject({ version: 2, updatedAt: later })

      await save(members(group, { add: [user(a, 'renamed')], remove: [c] }))
      expect(await read().group(tenant, group.id)).toMatchObject({ version: 2 })
      expect(await read().membersAmong(tenant, group.id, [a, c])).toEqual([user(a, 'A')])

      await save(members(group, { add: [user(c)], remove: [b] }))
      expect(await idsIn(group)).toEqual([a, c])
      await save(members(group, { replace: true, add: [user(b)] }))
      expect(await idsIn(group)).toEqual([b])
      await save(members(group, { replace: true }))
      expect(await idsIn(group)).toEqual([])
      expect(await read().group(tenant, group.id)).toMatchObject({ version: 5 })
    })

    it('refuses members of an unknown group and of another version', async () => {
      const group = makeGroup()
      expect(await current().commit([members(group, { add: [user('x')] })])).toMatchObject({
        reason: 'missing',
      })
      await save(put(group))
      expect(
        await current().commit([members(group, { expectedVersion: 7, add: [user('x')] })]),
      ).toMatchObject({ reason: 'version' })
      expect(await idsIn(group)).toEqual([])
    })

    it('knows since when a group has no active person, also through other groups and cycles', async () => {
      const [outer, middle, inner] = [makeGroup(), makeGroup(), makeGroup()]
      const person = makePerson()
      await save(
        putPerson(person),
        ...[outer, middle, inner].map((g) => put(g)),
        members(outer, { add: [nested(middle.id)] }),
        members(middle, { add: [nested(inner.id)] }),
        members(inner, { add: [nested(outer.id)] }),
      )
      expect(await Promise.all([outer, middle, inner].map(emptied))).toEqual([t0, t0, t0])
      expect(await isActive(outer)).toBe(false)

      await save(members(inner, { add: [user(person.id)] }))
      expect(await Promise.all([outer, middle, inner].map(emptied))).toEqual([null, null, null])
      expect(await isActive(outer)).toBe(true)
      expect(await read().groupsAround(tenant, person.id)).toEqual(
        [outer.id, middle.id, inner.id].toSorted(),
      )

      await save(putPerson({ ...person, active: false }, 1), switched(person.id))
      expect(await Promise.all([outer, middle, inner].map(emptied))).toEqual([later, later, later])
      await save(putPerson({ ...person, active: true }, 2), switched(person.id))
      expect(await emptied(outer)).toBeNull()

      await save(
        put({ ...inner, deletedAt: later }, (await read().group(tenant, inner.id))!.version),
      )
      expect(await isActive(outer)).toBe(false)
      expect(await isActive(inner)).toBe(false)
    })

    it('does not count people of another directory, accounts, or ids that lead nowhere', async () => {
      const group = makeGroup()
      const foreign = makePerson({ directory: 'other' })
      const account = makeAccount()
      await save(
        putPerson(foreign),
        { type: 'account', account, expectedVersion: null },
        put(group),
        members(group, { add: [user(foreign.id), user(account.id), user('nowhere')] }),
      )

      expect(await emptied(group)).toBe(t0)
      expect(await isActive(group)).toBe(false)
      expect(await read().groupsOf(tenant, foreign.id)).toEqual([])
      expect(await read().groupsAround(tenant, foreign.id)).toEqual([])
      expect((await read().userDocument(tenant, foreign.id))!.groups).toBeUndefined()
    })

    it('does not go around through a group of another directory', async () => {
      const person = makePerson()
      const [inner, abroad, outer] = [makeGroup(), makeGroup({ directory: 'other' }), makeGroup()]
      await save(
        putPerson(person),
        ...[inner, abroad, outer].map((g) => put(g)),
        members(inner, { add: [user(person.id)] }),
        members(abroad, { add: [nested(inner.id), user(person.id)] }),
        members(outer, { add: [nested(abroad.id)] }),
      )

      expect(await read().groupsAround(tenant, person.id)).toEqual([inner.id])
      expect(await isActive(outer)).toBe(false)
      expect(await isActive(abroad)).toBe(false)
    })

    it('shows groups with their people and takes them out of all when they are gone', async () => {
      const group = makeGroup()
      const person = makePerson()
      await save(putPerson(person), put(group))
      const before = (await read().userDocument(tenant, person.id))!
      expect(before.groups).toBeUndefined()

      await save(members(group, { add: [user(person.id)] }))
      const after = (await read().userDocument(tenant, person.id))!
      expect(JSON.parse(after.groups!)).toMatchObject([{ value: group.id }])
      expect(after.etag).not.toBe(before.etag)
      expect(await read().groupsOf(tenant, person.id)).toEqual([
        { id: group.id, displayName: group.displayName },
      ])

      await save(
        putPerson({ ...person, active: false, deletedAt: later }, 1),
        switched(person.id, true),
      )
      expect(await idsIn(group)).toEqual([])
      expect(await read().group(tenant, group.id)).toMatchObject({ version: 3, emptiedAt: later })
    })

    it('tells people and groups among ids, deleted ones left out', async () => {
      const [person, gone] = [makePerson(), makePerson({ deletedAt: t0 })]
      const group = makeGroup({ directory: 'other' })
      await save(putPerson(person), putPerson(gone), put(group))

      const ids = [person.id, gone.id, group.id, 'nowhere']
      expect(await read().memberTargets(tenant, ids)).toEqual([
        { id: person.id, type: 'User', directory: 'default' },
        { id: group.id, type: 'Group', directory: 'other' },
      ])
    })

    it('finds accounts of groups that are empty or deleted, not of those with somebody in', async () => {
      const [full, empty, deleted] = [makeGroup(), makeGroup(), makeGroup({ deletedAt: t0 })]
      const person = makePerson()
      const of = (group: Group) => makeAccount({ owner: { type: 'Group', id: group.id } })
      const [owned, orphan, second] = [of(full), of(empty), of(deleted)]
      await save(
        putPerson(person),
        ...[full, empty, deleted].map((g) => put(g)),
        members(full, { add: [user(person.id)] }),
        ...[owned, orphan, second].map((account): Change => ({
          type: 'account',
          account,
          expectedVersion: null,
        })),
      )

      const found = (await read().orphans(t0, null, 100)).rows.map((a) => a.id)
      expect(found).toEqual([orphan.id, second.id])
    })

    describe('as documents', () => {
      const everything = { people: 'all', accounts: 'all' } as const
      const list = (root: BoundNode | null, more: Partial<GroupListQuery> = {}) =>
        read().listGroups({
          tenant,
          visibility: everything,
          filter: root === null ? null : bound(root),
          startIndex: 1,
          count: 100,
          members: true,
          ...more,
        })
      const ids = async (...args: Parameters<typeof list>) =>
        (await list(...args)).rows.map((r) => r.id)

      it('joins members only where there are any and somebody asks', async () => {
        const [group, bare] = [makeGroup(), makeGroup()]
        const [b, a] = [makeId(), makeId()]
        await save(put(group), put(bare), members(group, { add: [user(a), user(b, 'B')] }))

        const full = (await read().groupDocument(tenant, group.id, { members: true }))!
        expect(JSON.parse(full.members!)).toEqual([
          { value: b, type: 'User', display: 'B' },
          { value: a, type: 'User' },
        ])
        expect(full).toMatchObject({ type: 'group', etag: '2', updatedAt: later })
        const without = await read().groupDocument(tenant, group.id, { members: false })
        expect(without!.members).toBeUndefined()
        const none = await read().groupDocument(tenant, bare.id, { members: true })
        expect(none!.members).toBeUndefined()
      })

      it('filters by name, externalId, id and members', async () => {
        const person = makeId()
        const group = makeGroup({ displayName: unique('Ops'), externalId: unique('x') })
        const other = makeGroup()
        await save(
          put(group),
          put(other),
          members(group, { add: [user(person)] }),
          members(other, { add: [nested(group.id)] }),
        )
        const member = attribute('members[] value', exact)
        const value = attribute('value', exact)
        const element = (root: BoundNode): BoundNode => ({
          op: 'valuePath',
          attribute: attribute('members[]'),
          element: root,
        })
        const name = compare('displayName', 'eq', group.displayName.toLowerCase())

        expect(await ids(name)).toEqual([group.id])
        expect(await ids(compare(attribute('externalId', exact), 'eq', group.externalId))).toEqual([
          group.id,
        ])
        expect(await ids(compare(member, 'eq', person))).toEqual([group.id])
        expect(await ids(element(compare(value, 'eq', person)))).toEqual([group.id])
        expect(await ids(element(compare('type', 'eq', 'group')))).toEqual([other.id])
        expect(
          await ids({
            op: 'and',
            nodes: [compare('id', 'eq', other.id), compare(member, 'eq', person)],
          }),
        ).toEqual([])
        expect(await ids({ op: 'not', node: compare(member, 'eq', person) })).toEqual([other.id])
        const present: BoundNode = {
          op: 'present',
          attribute: attribute('members[]'),
        }
        expect(await ids(present)).toEqual([group.id, other.id])
      })

      it('finds people by their groups', async () => {
        const group = makeGroup()
        const [inside, outside] = [makePerson(), makePerson()]
        await save(
          putPerson(inside),
          putPerson(outside),
          put(group),
          members(group, { add: [user(inside.id)] }),
        )
        const groups = attribute('groups[] value', exact)
        const find = async (root: BoundNode) => {
          const query = { tenant, visibility: everything, filter: bound(root) }
          return (await read().listUsers({ ...query, startIndex: 1, count: 100 })).rows
        }

        const found = await find(compare(groups, 'eq', group.id))
        expect(found.map((r) => r.id)).toEqual([inside.id])
        expect(JSON.parse(found[0]!.groups!)).toMatchObject([{ value: group.id }])
        const others = await find({ op: 'not', node: compare(groups, 'eq', group.id) })
        expect(others.map((r) => r.id)).toEqual([outside.id])
      })

      it('are sorted, and walked page by page in that order', async () => {
        const people = [makePerson(), makePerson(), makePerson()]
        const groups = ['b', 'A', 'c'].map((displayName) => makeGroup({ displayName }))
        await save(...people.map((p) => putPerson(p)), ...groups.map((g) => put(g)))
        for (const [i, group] of groups.entries()) {
          if (i > 0) await save(members(group, { add: [user(people[2 - i]!.id)] }))
        }
        const query = { tenant, visibility: everything, filter: null, startIndex: 1, count: 2 }
        const by = (path: string, more = {}) =>
          ({ attribute: attribute(path, more), descending: false }) as const
        const sort = by('displayName')
        const first = await read().listGroups({ ...query, sort, members: true })
        expect(first.rows.map((r) => r.id)).toEqual([groups[1]!.id, groups[0]!.id])
        const rest = await read().listGroups({ ...query, sort, after: first.next, members: true })
        expect(rest.rows.map((r) => r.id)).toEqual([groups[2]!.id])
        expect(rest.next).toBeNull()

        // Those without members come last, those without groups likewise.
        const byMember = by('members[] value', exact)
        const sorted = await read().listGroups({
          ...query,
          count: 9,
          sort: byMember,
          members: false,
        })
        expect(sorted.rows.map((r) => r.id)).toEqual([groups[2]!.id, groups[1]!.id, groups[0]!.id])
        const byGroup = by('groups[] value', exact)
        const users = await read().listUsers({ ...query, count: 9, sort: byGroup })
        expect(users.rows.map((r) => r.id)).toEqual([people[1]!.id, people[0]!.id, people[2]!.id])
        expect(users.rows[2]!.groups ?? null).toBeNull()
      })

      it('pages, counts and shows a directory only its own', async () => {
        const groups = [makeGroup(), makeGroup(), makeGroup({ directory: 'other' })]
        await save(...groups.map((g) => put(g)), put(makeGroup({ deletedAt: t0 })))

        expect(await list(null, { count: 2 })).toMatchObject({ total: 3 })
        expect(await ids(null, { startIndex: 2, count: 2 })).toEqual([groups[1]!.id, groups[2]!.id])
        expect(await list(null, { count: 0 })).toMatchObject({ total: 3, rows: [] })
        const hr = { people: { directory: 'other' }, accounts: 'none' } as const
        expect(await ids(null, { visibility: hr })).toEqual([groups[2]!.id])
        const nobody = { people: 'none', accounts: 'none' } as const
        expect(await ids(null, { visibility: nobody })).toEqual([])
      })
    })
  })
}
