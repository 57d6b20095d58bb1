import { afterEach, describe, expect, it } from 'vitest'
import { benches } from '../support/fault-benches.ts'
import type { Bench } from '../support/fault-matrix.ts'
import { cellsOf, tryCell } from '../support/fault-matrix.ts'

describe.each(Object.entries(benches))('%s under every fault at every request', (_, open) => {
  let bench: Bench
  afterEach(() => bench.close())

  it('tells honestly what happened, and comes to one effect when it is repeated', async () => {
    bench = open()
    const cells = await cellsOf(bench)

    const wrong: string[] = []
    for (const cell of cells) wrong.push(...(await tryCell(bench, cell)))

    expect(cells.length).toBeGreaterThan(50)
    expect(wrong).toEqual([])
  })
})
