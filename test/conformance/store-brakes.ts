import { describe, expect, it } from 'vitest'
import type { Brake } from '../../src/domain/brake.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Store } from '../../src/store/store.ts'
import { t0, unique } from '../support/entities.ts'

const makeBrake = (overrides: Partial<Brake> = {}): Brake => ({
  tenant: null,
  name: 'listing',
  subject: unique('provider'),
  since: t0,
  facts: { reason: 'incomplete', seen: 3 },
  ...overrides,
})

/** Brakes that are on, the leavings a directory sent, and the approvals of what was held. */
export function brakeConformance(current: () => Store): void {
  const mine = async (subject: string) =>
    (await current().read.brakes()).filter((b) => b.subject === subject)

  describe('brakes', () => {
    it('keeps a brake until it is released', async () => {
      const brake = makeBrake()

      await current().commit([{ type: 'brakeEngaged', brake }])
      expect(await mine(brake.subject)).toEqual([brake])

      await current().commit([{ ...brake, type: 'brakeReleased' }])
      expect(await mine(brake.subject)).toEqual([])
    })

    it('lets a brake that is engaged again keep its beginning', async () => {
      const brake = makeBrake({ tenant })
      const again = { ...brake, since: addSeconds(t0, 60), facts: { seen: 4 } }

      await current().commit([{ type: 'brakeEngaged', brake }])
      await current().commit([{ type: 'brakeEngaged', brake: again }])

      expect(await mine(brake.subject)).toEqual([{ ...again, since: t0 }])
    })

    it('tells brakes of a tenant, of everybody and of other subjects apart', async () => {
      const all = makeBrake()
      const own = { ...all, tenant }
      const clock = makeBrake({ name: 'clock', subject: all.subject })
      await current().commit([all, own, clock].map((brake) => ({ type: 'brakeEngaged', brake })))

      await current().commit([{ ...own, type: 'brakeReleased' }])

      expect(await mine(all.subject)).toEqual(expect.arrayContaining([all, clock]))
      expect(await mine(all.subject)).toHaveLength(2)
    })
  })
}
