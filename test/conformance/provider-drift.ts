/* oxlint-disable vitest/no-conditional-expect, vitest/expect-expect -- the flags decide what is expected, and the rig expects */
import { expect, it } from 'vitest'
import type { WantedScopes } from '../../src/provider/contract.ts'
import type { Minted, Rig } from './provider-rig.ts'
import { callWith, storyOf } from './provider-rig.ts'

/** What a key may do: changed on request, compared with what was granted, and put back. */
export function driftSuite(rig: () => Rig): void {
  const wantedOf = ({ want, keyId }: Minted): WantedScopes => ({ ...want, keyId })
  const settled = <T>(answer: T): T => {
    rig().settle()
    return answer
  }

  it('finds no drift in what it has just issued, and changes nothing by looking', async () => {
    const r = rig()
    if (!r.provider.driftOf || !r.abilities.canCreate) return
    const made = settled(await r.mint())

    const found = await r.unchanged(() =>
      r.provider.driftOf!(made.principal, [wantedOf(made)], callWith()),
    )

    expect(found).toEqual({ items: [], complete: true })
  })

  it('tells each difference once, and puts it back without touching the key', async () => {
    const r = rig()
    if (!r.under.plantDrift) return
    const made = settled(await r.mint())
    const want = [wantedOf(made)]
    const drifts = async () => {
      const listing = await r.provider.driftOf!(made.principal, want, callWith())
      expect(listing.complete).toBe(true)
      return listing.items
    }
    await r.under.plantDrift(made)
    r.settle()

    const found = await drifts()

    expect(found.length).toBeGreaterThan(0)
    const names = found.map(({ what, name, keyId }) => [what, name, keyId].join(' '))
    expect(new Set(names).size).toBe(names.length)
    for (const drift of found) {
      expect(drift.granted ?? drift.actual).not.toBeNull()
      expect(drift.granted).not.toBe(drift.actual)
      for (const _ of ['once', 'and again']) {
        const done = await r.provider.revertDrift!(made.principal, want, drift, callWith())
        for (const line of done) expect(line).not.toBe('')
      }
    }
    r.settle()
    expect(await drifts()).toEqual([])
    expect(await r.probe(made)).toBe(r.working)
    await r.expectKeys(made.principal, [made.keyId])
  })

  it('changes scopes in place where it claims to, repeatably, with the same key', async () => {
    const r = rig()
    if (r.abilities.canRescope !== 'inPlace') return
    const made = settled(await r.mint())
    const want = wantedOf(made)
    const rescope = (scopes: readonly string[]) =>
      r.provider.rescope!(made.principal, { ...want, scopes, before: want.scopes }, callWith())
    const drifts = async (scopes: readonly string[]) =>
      (await r.provider.driftOf?.(made.principal, [{ ...want, scopes }], callWith()))?.items ?? []

    const to = r.under.otherScopes ?? want.scopes
    await rescope(to)
    await rescope(to)
    r.settle()

    expect(await drifts(to)).toEqual([])
    expect(await r.probe(made)).toBe(r.working)
    await r.expectKeys(made.principal, [made.keyId])
    const { refusedScope } = r.under
    if (refusedScope !== undefined) {
      expect(await storyOf(rescope([...to, refusedScope]))).toBe('invalid/notApplied')
      expect(await drifts(to)).toEqual([])
    }
  })
}
