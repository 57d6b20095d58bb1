import { expect, it } from 'vitest'
import { simulate } from './simulate.ts'
import { simulationSuite } from './suite.ts'

simulationSuite({ seeds: 40, offset: 0, timeoutSeconds: 150 })

it('goes the same way from the same seed', async () => {
  const runs = [await simulate(7), await simulate(8), await simulate(7), await simulate(8)]
  const prints = runs.map((run) => run.fingerprint)

  expect(prints[2]).toBe(prints[0])
  expect(prints[3]).toBe(prints[1])
  expect(prints[1]).not.toBe(prints[0])
})
