import { describe, expect, it } from 'vitest'
import { missed } from '../year/report.ts'
import { liveYear } from '../year/year.ts'

const small = { people: 300, accounts: 60, weeks: 13 }

describe('a simulated year', () => {
  it('reaches every goal in a quarter of a year of a company of 300', async () => {
    const figures = await liveYear(3, small)

    expect(missed(figures)).toEqual([])
    expect(figures.leavers).toBeGreaterThan(5)
    expect(figures.steps.get('rotate disable-old next ')).toBeGreaterThan(10)
  })

  it('is the same year for the same seed', async () => {
    const tiny = { people: 60, accounts: 12, weeks: 6 }
    const [one, two] = [await liveYear(5, tiny), await liveYear(5, tiny)]

    expect(two.story).toEqual(one.story)
    expect(two.steps).toEqual(one.steps)
  })

  it('counts failed calls where everybody is taken for moved at once', async () => {
    const { failedInRotation } = await liveYear(1, { ...small, sabotage: 'no-evidence' })

    expect(failedInRotation).toBeGreaterThan(0)
  })

  it('counts false kills where nothing brakes a directory gone mad', async () => {
    const { falseKillsBy } = await liveYear(2, { ...small, sabotage: 'no-brake' })

    expect(falseKillsBy.get('mis-sync')).toBeGreaterThan(0)
  })
})
