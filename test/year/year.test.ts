import { expect, it } from 'vitest'
import { missed } from './report.ts'
import { liveYear } from './year.ts'

it('lives some weeks of a small company without missing a goal', { timeout: 60_000 }, async () => {
  const figures = await liveYear(1, { people: 60, accounts: 12, weeks: 6 })

  expect(missed(figures)).toEqual([])
  // A year in which nothing happens would reach every goal.
  expect(figures.steps.get('rotate disable-old next ')).toBeGreaterThan(1)
  expect(figures.steps.get('leave fan-out done ')).toBeGreaterThan(0)
  expect(figures.consumerCalls).toBeGreaterThan(10_000)
})
