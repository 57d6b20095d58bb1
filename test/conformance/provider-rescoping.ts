/* oxlint-disable vitest/no-conditional-expect -- the flags decide what is expected */
import { expect, it } from 'vitest'
import { callWith, type Rig } from './provider-rig.ts'

/** What is claimed by `canRescope: 'inPlace'`: other scopes, the same key, nobody else's touched. */
export function rescopingSuite(rig: () => Rig): void {
  it('changes scopes in place only where it claims to, under the same key, as often as asked', async () => {
    const r = rig()
    if (r.abilities.canRescope !== 'inPlace' || !r.abilities.canCreate) {
      expect(r.abilities.canRescope).not.toBe('inPlace')
      return
    }
    const [made, other] = [await r.mint(), await r.mint()]
    const shown = async (external: string) => {
      const { items } = await r.provider.list(external, callWith())
      return items.map(({ keyId, active }) => ({ keyId, active }))
    }
    const before = await shown(other.principal)
    const want = {
      ...made.want,
      keyId: made.keyId,
      scopes: (r.under.scopes ?? []).slice(0, 1),
      before: made.want.scopes,
    }

    for (let time = 1; time <= 2; time++) {
      await r.provider.rescope!(made.principal, want, callWith())
      r.settle()
    }

    expect(await shown(made.principal)).toEqual([{ keyId: made.keyId, active: true }])
    expect(await r.probe(made)).toBe(r.working)
    expect(await shown(other.principal)).toEqual(before)
    expect(await r.probe(other)).toBe(r.working)
  })
}
