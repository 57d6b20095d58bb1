import { describe, expect, it } from 'vitest'
import type { Sabotage } from './installation.ts'
import { simulate } from './simulate.ts'
import { simulationSuite } from './suite.ts'

simulationSuite({ seeds: 60, minutes: 3 })

describe('the simulation itself', () => {
  it('goes the same way from the same seed', async () => {
    const runs = [await simulate(7), await simulate(7), await simulate(8)]
    const prints = runs.map((run) => run.fingerprint)

    expect(prints[1]).toBe(prints[0])
    expect(prints[2]).not.toBe(prints[0])
  })

  it.each<Sabotage>([
    'keys stay active',
    'fences are ignored',
    'leases never lapse',
    'keys are not journalled',
  ])('notices when %s', async (sabotage) => {
    for (let seed = 1; seed <= 40; seed++) {
      const { violation } = await simulate(seed, { sabotage, minutes: 3 }).catch(
        (error: unknown) => ({
          violation: String(error),
        }),
      )
      if (violation !== null) return
    }
    expect.fail('40 lives of a broken Custody went by without a violation')
  })
})
