import { describe, expect, it } from 'vitest'
import type { Replica } from '../../src/domain/replica.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { t0 } from '../support/entities.ts'

const later = addSeconds(t0, 60)

/** What several processes on one database know of each other. */
export function replicaConformance(current: () => Store): void {
  describe('replicas', () => {
    const save = async (...changes: readonly Change[]): Promise<void> => {
      expect(await current().commit(changes)).toBe('saved')
    }

    it('gives a job that is one process’s alone to one at a time, and tells who led before (R63)', async () => {
      const lead = (holder: string, now: Instant): Change => ({
        type: 'lead',
        job: 'sequencer',
        holder,
        now,
        until: addSeconds(now, 15),
      })
      const led = (fence: number): Change => ({ type: 'led', job: 'sequencer', fence })
      const note: Change = { type: 'meta', key: 'noted by who leads', value: 'yes' }

      const first = await Promise.all(['a', 'b', 'c'].map((h) => current().commit([lead(h, t0)])))
      const taken = first.findIndex((result) => result === 'saved')
      const holder = ['a', 'b', 'c'][taken]!
      expect(first.toSpliced(taken, 1)).toEqual(
        [0, 1].map(() => ({ change: 0, reason: 'busy', with: holder })),
      )
      const { fence } = (await current().read.leader('sequencer'))!
      await save(lead(holder, addSeconds(t0, 10)), led(fence))
      expect(await current().commit([lead('z', addSeconds(t0, 20))])).toMatchObject({
        with: holder,
      })

      await save(lead('z', addSeconds(t0, 25)))
      expect(await current().read.leader('sequencer')).toEqual({
        job: 'sequencer',
        holder: 'z',
        fence: fence + 1,
        until: addSeconds(t0, 40),
      })
      const stale = { change: 0, reason: 'fence', with: 'sequencer' }
      expect(await current().commit([led(fence), note])).toEqual(stale)
      expect(await current().read.meta(note.key)).toBeNull()
      expect(await current().read.leader('nobody leads this')).toBeNull()
    })

    it('lists the processes that were lately there', async () => {
      const replica: Replica = {
        id: 'host/1/a',
        version: '1.2.3',
        roles: ['http', 'worker'],
        policy: 'p1',
        startedAt: t0,
        seenAt: t0,
        clockOffset: -12,
      }
      const other = { ...replica, id: 'host/2/b' }
      const seen = (row: Replica, forget: Instant): Change => ({
        type: 'replicaSeen',
        replica: row,
        forget,
      })
      await save(seen(other, t0), seen(replica, t0))
      expect(await current().read.replicas()).toEqual([replica, other])
      const again = { ...replica, seenAt: later, policy: 'p2' }
      await save(seen(again, addSeconds(t0, 1)))
      expect(await current().read.replicas()).toEqual([again])
      await save({ type: 'replicaGone', id: again.id })
      expect(await current().read.replicas()).toEqual([])
    })
  })
}
