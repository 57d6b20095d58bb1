import { afterEach, beforeEach, describe } from 'vitest'
import { driftSuite } from './provider-drift.ts'
import { endingSuite } from './provider-ending.ts'
import { failingSuite } from './provider-failing.ts'
import { inventorySuite } from './provider-inventory.ts'
import { mintingSuite } from './provider-minting.ts'
import { optionsSuite } from './provider-options.ts'
import { Rig, type ProviderUnderTest } from './provider-rig.ts'

export { callWith, providerErrorFrom, wantCredential, wantPrincipal } from './provider-rig.ts'
export type { ProviderUnderTest } from './provider-rig.ts'

/**
 * What every provider must do, whatever it is connected to. The suite reads `capabilities`: what a
 * flag claims is tried, what it does not claim must be refused without effect.
 */
export function providerConformance(label: string, make: () => Promise<ProviderUnderTest>): void {
  describe(`${label} conforms to the provider contract`, () => {
    let current: Rig
    const rig = (): Rig => current

    beforeEach(async () => {
      current = new Rig(label, await make())
    })
    afterEach(async () => {
      await current.provider.close()
      await current.under.dispose()
    })

    mintingSuite(rig)
    endingSuite(rig)
    inventorySuite(rig)
    optionsSuite(rig)
    driftSuite(rig)
    failingSuite(rig)
  })
}
