import { describe, expect, it } from 'vitest'
import type { ConsumerReport } from '../../src/domain/consumer.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Store } from '../../src/store/store.ts'
import { makeId, t0 } from '../support/entities.ts'

/** What consumers reported, and which uses of a key were our own. */
export function consumerConformance(current: () => Store): void {
  const later = addSeconds(t0, 60)
  const said = (report: ConsumerReport) => current().commit([{ type: 'consumerReport', report }])

  describe('consumers', () => {
    it('keeps the highest generation that each reported, and what was waived beside it', async () => {
      const one: ConsumerReport = {
        tenant,
        account: makeId(),
        credential: makeId(),
        consumer: 'checkout',
        kind: 'seen',
        generation: 2,
        at: t0,
        by: 'ci',
      }
      const waived: ConsumerReport = { ...one, kind: 'waived', generation: 5 }
      const newer: ConsumerReport = { ...one, generation: 3, at: later }

      for (const report of [one, { ...one, at: later }, newer, one, waived]) {
        expect(await said(report)).toBe('saved')
      }

      const { read } = current()
      const kept = await read.consumerReports(tenant, one.account)
      expect(kept.toSorted((a, b) => a.generation - b.generation)).toEqual([newer, waived])
      expect(await read.consumerReports('other' as typeof tenant, one.account)).toEqual([])
      expect(await read.consumerReports(tenant, makeId())).toEqual([])
    })

    it('keeps the last moment at which a key was tried', async () => {
      const probe = { tenant, credential: makeId<never>(), generation: 4, at: later }
      const tried = (at: Instant) =>
        current().commit([{ type: 'keyProbe', probe: { ...probe, at } }])

      for (const at of [t0, later, t0]) expect(await tried(at)).toBe('saved')

      const { read } = current()
      expect(await read.keyProbe(tenant, probe.credential, 4)).toEqual(probe)
      expect(await read.keyProbe(tenant, probe.credential, 3)).toBeNull()
    })
  })
}
