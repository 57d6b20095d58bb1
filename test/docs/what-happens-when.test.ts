import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyScenarios } from '../support/whatif-keys.ts'
import { ownerScenarios } from '../support/whatif-owners.ts'
import { rowsOfPage, startBench } from '../support/whatif.ts'

const scenarios = { ...keyScenarios, ...ownerScenarios }
const rows = rowsOfPage()

describe('docs/explanation/what-happens-when.md', () => {
  let bench: Awaited<ReturnType<typeof startBench>>
  beforeAll(async () => {
    bench = await startBench()
  })
  afterAll(() => bench.close())

  it('has a scenario for each line, and a line for each scenario', () => {
    expect(rows.map((row) => row.event).toSorted()).toEqual(Object.keys(scenarios).toSorted())
  })

  it('names settings of the policy as shipped, with the values they have there', () => {
    for (const row of rows) {
      for (const [name, said, is] of row.shipped()) {
        expect(said, `${row.event}: ${name}`).toBe(is)
      }
    }
  })

  // In the order of the file with the freeze window, whose dates are fixed.
  const order = Object.keys(scenarios)
  const inOrder = rows.toSorted((a, b) => order.indexOf(a.event) - order.indexOf(b.event))
  it.each(inOrder.map((row) => [row.event, row] as const))('%s', async (event, row) => {
    bench.begin()
    await scenarios[event]!(bench, row)
    expect(row.unproven(), 'what the line says and its scenario does not look at').toEqual([])
  })
})
