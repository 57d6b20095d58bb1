import { describe, expect, it } from 'vitest'
import { directed, pairsOfFaults, singleFaults } from '../simulation/directed.ts'
import { simulationSuite } from '../simulation/suite.ts'

// A file of its own, so that both halves run at once.
simulationSuite({ seeds: 400, offset: 2_000, timeoutSeconds: 300 })

// All of them: `npm run simulate -- --faults`, `npm run simulate -- --pairs`.
describe.each([
  ['a fault at a call of a step', singleFaults, 97],
  ['two faults in a row', pairsOfFaults, 397],
] as const)('%s', (_name, plansOf, stride) => {
  it('leaves nothing undone and nothing behind', async () => {
    const plans = (await plansOf()).filter((_, i) => i % stride === 0)
    for (const plan of plans) {
      const { violation } = await directed(plan)
      expect(violation, plan.name).toBeNull()
    }
  })
})
