import { expect, it } from 'vitest'
import type { Sabotage } from '../simulation/installation.ts'
import { simulate } from '../simulation/simulate.ts'
import { simulationSuite } from '../simulation/suite.ts'

simulationSuite({ seeds: 100, minutes: 3, timeoutSeconds: 200 })

it.each<Sabotage>([
  'keys stay active',
  'fences are ignored',
  'leases never lapse',
  'keys are not journalled',
])('notices when %s', async (sabotage) => {
  for (let seed = 1; seed <= 40; seed++) {
    // A broken Custody may also fall over where it should never get to.
    const { violation } = await simulate(seed, { sabotage, minutes: 3 }).catch(
      (error: unknown) => ({ violation: String(error) }),
    )
    if (violation !== null) return
  }
  expect.fail('40 lives of a broken Custody went by without a violation')
})
