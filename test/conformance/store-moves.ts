import { describe, expect, it } from 'vitest'
import type { DirectoryMove, Moved } from '../../src/domain/directory-move.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeGroup, makeId, makePerson, t0, unique } from '../support/entities.ts'

/** People and groups who change directories: the same rows in both databases. */
export function moveConformance(current: () => Store): void {
  describe('moves between directories', () => {
    const save = async (...changes: readonly Change[]) =>
      expect(await current().commit(changes)).toBe('saved')

    it('take all people and groups along at once, but those that are left out', async () => {
      const { read } = current()
      const [from, to] = [unique('from'), unique('to')]
      const [ada, ben] = [makePerson({ directory: from }), makePerson({ directory: from })]
      const other = makePerson({ directory: unique('else') })
      const [team, double] = [makeGroup({ directory: from }), makeGroup({ directory: from })]
      for (const person of [ada, ben, other]) {
        await save({ type: 'person', person, expectedVersion: null })
      }
      for (const group of [team, double])
        await save({ type: 'group', group, expectedVersion: null })
      const add = [{ id: ada.id, type: 'User', display: null }] as const
      await save({
        type: 'members',
        tenant,
        group: team.id,
        expectedVersion: null,
        replace: false,
        add,
        remove: [],
        at: t0,
      })
      const make = (): DirectoryMove => ({
        tenant,
        id: makeId(),
        from,
        to,
        match: 'email',
        status: 'open',
        stage: 'groups',
        after: null,
        facts: { people: 2 },
        openedAt: t0,
        openedBy: 'eve',
        finishedAt: null,
      })
      const move = make()
      const rowOf = (subject: Moved['subject'], key: string | null): Moved => ({
        tenant,
        move: move.id,
        type: 'User',
        subject,
        key,
        state: 'waiting',
        twin: null,
        oldWordAt: null,
      })
      await save({ type: 'moved', moved: [rowOf(ada.id, 'a@x'), rowOf(ben.id, null)] })
      await save({ type: 'moveOpened', move, except: [double.id] })
      const second = { type: 'moveOpened', move: make(), except: [] } as const
      expect(await current().commit([second])).toMatchObject({ reason: 'busy', with: move.id })

      const namesIn = async (directory: string) => [
        (await read.peopleOfDirectory(tenant, directory, null, 10)).map((p) => p.id),
        (await read.groupsOfDirectory(tenant, directory, null, 10)).map((g) => g.id),
      ]
      expect(await namesIn(to)).toEqual([[ada.id, ben.id], [team.id]])
      expect(await namesIn(from)).toEqual([[], [double.id]])
      expect(await read.peopleOfDirectory(tenant, to, ada.id, 10)).toHaveLength(1)
      expect(await read.groupState(tenant, team.id)).toMatchObject({
        active: true,
        group: { emptiedAt: null, directory: to },
      })
      expect((await read.person(tenant, ada.id))?.version).toBe(ada.version + 1)

      expect(await read.openMove(tenant)).toEqual(move)
      expect(await read.movedByKey(tenant, move.id, 'a@x')).toEqual(rowOf(ada.id, 'a@x'))
      await save({ type: 'movedConfirmed', tenant, move: move.id, subject: ada.id })
      await save({ type: 'movedOldWord', tenant, move: move.id, subject: ben.id, at: t0 })
      expect(await read.movedByKey(tenant, move.id, 'a@x')).toBeNull()
      expect(await read.movedAfter(tenant, move.id, null, 10)).toEqual([
        { ...rowOf(ada.id, 'a@x'), state: 'confirmed' },
        { ...rowOf(ben.id, null), oldWordAt: t0 },
      ])
      const done: DirectoryMove = { ...move, status: 'finished', stage: 'done', finishedAt: t0 }
      const stale = { stage: 'groups', after: 'x' } as const
      const late = await current().commit([{ type: 'moveAdvanced', move: done, from: stale }])
      expect(late).toMatchObject({ reason: 'version' })
      await save({ type: 'moveAdvanced', move: done, from: move })
      expect(await read.openMove(tenant)).toBeNull()
      expect(await read.move(tenant, move.id)).toEqual(done)
      expect((await read.moves(tenant))[0]).toEqual(done)
    })
  })
}
