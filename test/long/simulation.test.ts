import { expect, it } from 'vitest'
import { sabotages } from '../simulation/sabotage.ts'
import { simulate } from '../simulation/simulate.ts'
import { simulationSuite } from '../simulation/suite.ts'

simulationSuite({ seeds: 400, offset: 1_000, timeoutSeconds: 300 })

/** Of each sabotage so many lives; one of them has to notice. */
const livesMax = 80

it.each(sabotages)('notices when %s', async (sabotage) => {
  for (let seed = 1; seed <= livesMax; seed++) {
    // A broken Custody may also fall over where it should never get to.
    const { violation } = await simulate(seed, { sabotage }).catch((error: unknown) => ({
      violation: String(error),
    }))
    if (violation !== null) return
  }
  expect.fail(`${livesMax} lives of a broken Custody went by without a violation`)
})
