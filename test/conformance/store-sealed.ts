import { describe, expect, it } from 'vitest'
import type { CredentialId } from '../../src/domain/ids.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Change, Sealed, Store } from '../../src/store/store.ts'
import { makeId, t0 } from '../support/entities.ts'

const other = 'other' as typeof tenant
const makeSealed = (overrides: Partial<Sealed> = {}): Sealed => ({
  tenant,
  credential: makeId<CredentialId>(),
  keyId: 'it_1',
  // A token may be of any length; so may what it is sealed in.
  envelope: `v1.0123456789abcdef.${'w'.repeat(80)}.${'é~'.repeat(2_000)}`,
  expiresAt: t0,
  ...overrides,
})
const put = (sealed: Sealed): Change => ({ type: 'sealed', sealed })

/** Secrets under seal. */
export function sealedConformance(current: () => Store): void {
  const commit = (...changes: readonly Change[]) => current().commit(changes)
  const one = ({ tenant: of, credential, keyId }: Sealed) =>
    current().read.sealed(of, credential, keyId)
  const everything = async (page: number): Promise<readonly Sealed[]> => {
    const all: Sealed[] = []
    for (let after: Sealed | null = null; ; after = all.at(-1)!) {
      const found: readonly Sealed[] = await current().read.allSealed(after, page)
      all.push(...found)
      if (found.length < page) return all
    }
  }

  describe('sealed secrets', () => {
    it('keeps one per key, replaced by a later one, and forgets it when told, twice if need be', async () => {
      const first = makeSealed()
      const second: Sealed = { ...first, envelope: 'v1.b.c.d', expiresAt: addSeconds(t0, 60) }
      const { credential, keyId } = first

      expect(await commit(put(first))).toBe('saved')
      expect(await one(first)).toEqual(first)
      expect(await one({ ...first, tenant: other })).toBeNull()
      expect(await one({ ...first, keyId: 'it_2' })).toBeNull()
      expect(await commit(put(second))).toBe('saved')
      expect(await one(first)).toEqual(second)
      expect(await commit({ type: 'unsealed', tenant: other, credential, keyId })).toBe('saved')
      expect(await one(first)).toEqual(second)
      for (let time = 0; time < 2; time++) {
        expect(await commit({ type: 'unsealed', tenant, credential, keyId })).toBe('saved')
        expect(await one(first)).toBeNull()
      }
    })

    it('is kept with the rest of its commit, or not at all', async () => {
      const sealed = makeSealed()
      const refused: Change = {
        type: 'advance',
        id: makeId(),
        fence: 1,
        set: {},
        release: false,
        at: t0,
      }

      expect(await commit(put(sealed), refused)).not.toBe('saved')
      expect(await one(sealed)).toBeNull()
    })

    it('sweeps what ended before an instant, of all tenants, and nothing else', async () => {
      const ended = [makeSealed(), makeSealed({ tenant: other, expiresAt: addSeconds(t0, 59) })]
      const kept = makeSealed({ expiresAt: addSeconds(t0, 60) })
      await commit(...[...ended, kept].map(put))

      expect(await commit({ type: 'sealedSwept', before: addSeconds(t0, 60) })).toBe('saved')

      expect(await Promise.all(ended.map(one))).toEqual([null, null])
      expect(await one(kept)).toEqual(kept)
    })

    it('is read in pages, each row once, whatever their size', async () => {
      const credential = makeId<CredentialId>()
      const rows = [
        makeSealed({ tenant: other, credential, keyId: 'a' }),
        ...['a', 'b', 'c'].map((keyId) => makeSealed({ credential, keyId })),
        makeSealed(),
      ]
      await commit(...rows.map(put))
      const keys = (of: readonly Sealed[]) => of.map((r) => [r.tenant, r.credential, r.keyId])

      for (const page of [1, 2, 5, 50]) {
        const read = keys(await everything(page))
        expect(read, `pages of ${page}`).toHaveLength(rows.length)
        expect(new Set(read.map(String))).toEqual(new Set(keys(rows).map(String)))
      }
    })
  })
}
