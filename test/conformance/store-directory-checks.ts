import { describe, expect, it } from 'vitest'
import type { DirectoryCheck } from '../../src/domain/directory.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Store } from '../../src/store/store.ts'
import { makeId, t0, unique } from '../support/entities.ts'

const other = 'other' as typeof tenant
const makeCheck = (more: Partial<DirectoryCheck> = {}): DirectoryCheck => ({
  tenant,
  directory: unique('directory'),
  id: makeId(),
  at: t0,
  complete: true,
  agreeing: 4_999,
  all: 5_000,
  report: {
    type: 'okta',
    trouble: null,
    listed: 5_000,
    known: 4_999,
    unsettled: 0,
    missed: [{ id: makeId(), userName: 'é', version: 3, by: 'email', since: t0, deleted: false }],
    ghosts: [],
    missing: [],
    returned: [],
    differences: [],
    ambiguous: [],
    counts: { missed: 1, ghosts: 0, missing: 0, returned: 0, differences: 0, ambiguous: 0 },
    lag: { people: 2, median: 1.5, worst: 60 },
    heard: [],
  },
  ...more,
})

/** What the directories themselves said last. */
export function directoryCheckConformance(current: () => Store): void {
  describe('checks of directories', () => {
    it('keeps the last one of each directory and tenant, whole, and lists them without what they found', async () => {
      const first = makeCheck()
      const { directory } = first
      const second = makeCheck({ directory, at: addSeconds(t0, 60), complete: false, agreeing: 0 })
      const foreign = makeCheck({ directory, tenant: other })
      const put = (check: DirectoryCheck) => current().commit([{ type: 'directoryCheck', check }])
      const { read } = current()

      expect(await read.directoryCheck(tenant, directory)).toBeNull()
      expect(await put(first)).toBe('saved')
      expect(await put(foreign)).toBe('saved')
      expect(await read.directoryCheck(tenant, directory)).toEqual(first)
      expect(await put(second)).toBe('saved')
      expect(await read.directoryCheck(tenant, directory)).toEqual(second)
      expect(await read.directoryCheck(other, directory)).toEqual(foreign)
      const heads = (await read.directoryChecks()).filter((h) => h.directory === directory)
      const { report: _one, ...head } = second
      const { report: _two, ...foreignHead } = foreign
      expect(heads).toEqual([head, foreignHead])
    })
  })
}
