/* oxlint-disable vitest/no-conditional-expect, vitest/expect-expect -- the flags decide what is expected, and the rig expects */
import { expect, it } from 'vitest'
import type { InventoryEntry } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { callWith, cleanRefusal, type Rig } from './provider-rig.ts'

/** What a provider shows: the keys of one principal, and all that lies where Custody makes things. */
export function inventorySuite(rig: () => Rig): void {
  it('lists what is there, completely and as active, or does not pretend to', async () => {
    const r = rig()
    const { principal, keyId } = await r.mint()

    const listing = await r.provider.list(principal, callWith()).catch((error: unknown) => {
      if (!(error instanceof ProviderError)) throw error
      return `${error.kind}/${error.outcome}`
    })

    if (!r.abilities.canList) {
      return typeof listing === 'string'
        ? expect(listing).toMatch(cleanRefusal)
        : expect(listing.items.filter((item) => item.kind === r.under.kind)).toEqual([])
    }
    const key = { keyId, kind: r.under.kind, active: true }
    expect(listing).toMatchObject({ items: [key], complete: true })
  })

  it('lists nothing for a principal without keys', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return

    await r.expectKeys((await r.principal()).external, [])
  })

  it('tells the last use of a key, or never claims to know one', async () => {
    const r = rig()
    const { canList, canLastUsed, lastUsedLag } = r.abilities
    if (!canList) return
    const made = await r.mint()
    const canTell = canLastUsed && made.secret && 'use' in r.under && 'pass' in r.under
    if (canTell) {
      await r.under.use!(made.secret)
      r.under.pass!(lastUsedLag)
    }

    const [key] = await r.listed(made.principal)

    if (canTell) expect(key!.lastUsedAt ?? key!.lastUsedUnknown).toBeTruthy()
    else if (!canLastUsed) expect(key!.lastUsedAt).toBeNull()
  })

  /** All pages; throws what a page throws. */
  async function inventory(call = callWith()) {
    const entries: InventoryEntry[] = []
    let complete = true
    let pages = 0
    let from: string | null = null
    do {
      const page = await rig().provider.inventory!(from, call)
      entries.push(...page.entries)
      complete &&= page.complete
      from = page.next
    } while (++pages < 100 && from !== null)
    return { entries, complete, pages, end: from }
  }

  it('shows all it issued in a complete inventory, by the principal’s own handle', async () => {
    const r = rig()
    if (!r.provider.inventory || !r.abilities.canList) return
    const made = [await r.mint(), await r.mint(), await r.mint()]
    if (r.abilities.canDisable) {
      await r.provider.disable(made[0]!.principal, made[0]!.keyId, callWith())
    }
    r.settle()

    const { entries, complete, end } = await inventory()

    const shown = entries.flatMap((entry) =>
      entry.keys.map(({ keyId, kind, active }) => ({
        principal: entry.external,
        keyId,
        kind,
        active,
      })),
    )
    expect([complete, end]).toEqual([true, null])
    expect(shown).toHaveLength(3)
    expect(shown).toEqual(
      expect.arrayContaining(
        made.map(({ principal, keyId }, i) => ({
          principal,
          keyId,
          kind: r.under.kind,
          active: i > 0 || !r.abilities.canDisable,
        })),
      ),
    )
  })

  it('lists the same in its inventory as for each principal', async () => {
    const r = rig()
    if (!r.provider.inventory || !r.abilities.canList) return
    const { principal } = await r.mint()
    await r.mint()

    const { entries } = await inventory()

    const own = entries.filter((entry) => entry.external === principal)
    const alone = await r.listed(principal)
    // A last use may be left out, for it may cost a call each; where it is told, it is the same.
    const told = own.flatMap((entry) => entry.keys)
    expect(told).toEqual(
      alone.map(({ lastUsedAt, ...key }, i) =>
        told[i]?.lastUsedAt === undefined ? key : { ...key, lastUsedAt },
      ),
    )
  })

  it('shows no key that was revoked', async () => {
    const r = rig()
    if (!r.provider.inventory || !r.abilities.canRevoke) return
    const made = await r.mint()
    await r.revoke(made)
    r.settle()

    const { entries } = await inventory()

    expect(entries.flatMap((entry) => entry.keys)).toEqual([])
  })

  it('never calls an inventory complete of which a part could not be read', async () => {
    const r = rig()
    if (!r.provider.inventory || !r.under.armBrokenInventory) return
    await r.mint()
    await r.mint()
    r.under.armBrokenInventory()

    const outcome = await inventory().then(
      ({ complete, end }) => complete && end === null,
      (error: unknown) => (error instanceof ProviderError ? error.outcome : error),
    )

    expect(['notApplied', 'unknown', false]).toContain(outcome)
  })

  it.each(['inventory', 'discover'] as const)(
    'refuses to go on with %s from a place it never named',
    async (walk) => {
      const { provider } = rig()
      if (!provider[walk]) return

      const page = provider[walk]('{"nowhere":true}', callWith())
      const outcome = await page.then(
        (found) => ('entries' in found ? found.entries : found.items).length,
        (error: unknown) => (error instanceof ProviderError ? error.kind : error),
      )

      expect(['invalid', 0]).toContain(outcome)
    },
  )
}
