import { describe, expect, it } from 'vitest'
import type { Group } from '../../src/domain/group.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeAccount, makeCredential, makeGroup, makePerson, t0 } from '../support/entities.ts'

/** What was said of a leaving, when people leave, and who can no longer read what. */
export function signalConformance(current: () => Store): void {
  const read = () => current().read
  const commit = (...changes: readonly Change[]) => current().commit(changes)
  const at = (s: number) => addSeconds(t0, s)

  describe('signals', () => {
    it('keeps the words about a leaving and the date, and lists by date who is still there', async () => {
      const near = makePerson({ leavesAt: at(10) })
      const far = makePerson({ leavesAt: at(1_000) })
      const gone = makePerson({
        active: false,
        leftAt: t0,
        leavesAt: at(5),
        leftClass: 'leaveDate',
        notices: [
          { class: 'deactivated', at: t0 },
          { class: 'leaveDate', at: at(5) },
        ],
      })
      for (const person of [near, far, gone, makePerson()]) {
        await commit({ type: 'person', person, expectedVersion: null })
      }
      expect(await read().person(tenant, gone.id)).toEqual(gone)
      const mine = async (until: number) =>
        (await read().leaving(at(until), null, 100)).rows
          .map((row) => row.id)
          .filter((id) => [near.id, far.id, gone.id].includes(id as never))
      expect(await mine(9)).toEqual([])
      expect(await mine(1_000)).toEqual([near.id, far.id])
      const first = await read().leaving(at(1_000), null, 1)
      expect(first.next).not.toBeNull()
    })

    it('notes who can no longer read what others can, until it has been looked at', async () => {
      const [mover, bystander] = [makePerson(), makePerson()]
      const [inner, outer, idle] = [makeGroup(), makeGroup(), makeGroup()]
      const account = makeAccount({ owner: { type: 'Group', id: outer.id } })
      const credential = makeCredential({ account: account.id, readers: [inner.id, mover.id] })
      const join = (group: Group, id: string, type: 'User' | 'Group'): Change => ({
        ...({
          type: 'members',
          tenant,
          group: group.id,
          expectedVersion: null,
        } as const),
        replace: false,
        add: [
          {
            id,
            type,
            display: null,
          },
        ],
        remove: [],
        at: t0,
      })
      await commit(
        ...[mover, bystander].map((person): Change => {
          return { type: 'person', person, expectedVersion: null }
        }),
        ...[inner, outer, idle].map((group): Change => {
          return { type: 'group', group, expectedVersion: null }
        }),
        { type: 'account', account, expectedVersion: null },
        { type: 'credential', credential, expectedVersion: null },
        join(inner, mover.id, 'User'),
        join(idle, mover.id, 'User'),
        join(outer, inner.id, 'Group'),
      )
      expect(await read().readBy(tenant, inner.id, '', 10)).toEqual([credential.id])
      expect(await read().readBy(tenant, bystander.id, '', 10)).toEqual([])

      const departed = { type: 'departed', tenant, members: [mover.id] } as const
      await commit({ ...departed, from: inner.id, at: t0, dueAt: at(100) })
      const groupsOf = async () =>
        (await read().departuresOf(tenant, mover.id)).map((d) => d.group).toSorted()
      // Around the group it left, and nothing for a group that owns and reads nothing.
      expect(await groupsOf()).toEqual([inner.id, outer.id].toSorted())
      expect(await read().movedFrom(tenant, inner.id, t0)).toBe(true)
      expect(await read().movedFrom(tenant, inner.id, at(1))).toBe(false)
      const due = async (s: number) =>
        (await read().departuresDue(at(s), null, 100)).rows.filter((row) =>
          row.id.startsWith(mover.id),
        )
      expect(await due(99)).toEqual([])
      expect(await due(100)).toHaveLength(2)
      const page = await read().departuresDue(at(100), null, 1)
      expect((await read().departuresDue(at(100), page.next, 100)).rows).not.toContainEqual(
        page.rows[0],
      )

      // Leaves altogether: what waited is due with what is new.
      await commit({ ...departed, from: null, at: at(50), dueAt: at(50) })
      expect(await groupsOf()).toEqual([inner.id, outer.id, mover.id].toSorted())
      expect(await due(50)).toHaveLength(3)

      const departure = (await read().departure(tenant, mover.id, inner.id))!
      const seen = { type: 'departureSeen', departure } as const
      expect(await commit({ ...seen, dueAt: at(70) })).toBe('saved')
      expect(await commit({ ...seen, dueAt: null })).toMatchObject({ reason: 'version' })
      const again = { ...departure, dueAt: at(70) }
      expect(await commit({ type: 'departureSeen', departure: again, dueAt: null })).toBe('saved')
      expect(await groupsOf()).toEqual([outer.id, mover.id].toSorted())

      // Of a group inside: everybody in it.
      const rest = (await read().departuresOf(tenant, mover.id)).map((departure): Change => {
        return { type: 'departureSeen', departure, dueAt: null }
      })
      await commit(...rest)
      await commit({ ...departed, members: [inner.id], from: outer.id, at: t0, dueAt: at(100) })
      expect(await groupsOf()).toEqual([outer.id])
      // Of an account: known by its id, and due with a leaving like the others.
      const handed = { tenant, member: bystander.id, group: account.id, at: t0, dueAt: at(900) }
      await commit({ type: 'handedOver', departure: handed })
      expect(await read().departuresOf(tenant, bystander.id)).toEqual([handed])
      const leaves = { ...departed, members: [bystander.id], from: null, at: at(60) } as const
      await commit({ ...leaves, dueAt: at(60) })
      expect(await read().departure(tenant, bystander.id, account.id)).toMatchObject({
        at: t0,
        dueAt: at(60),
      })
    })
  })
}
