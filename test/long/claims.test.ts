import { expect, it } from 'vitest'
import { claimDueRotations } from '../support/claims.ts'

const rotations = 80

it('four processes make exactly one key for each rotation that is due', async () => {
  const figures = await claimDueRotations({ rotations, processes: 4, kills: 0 })

  console.log(JSON.stringify(figures))
  expect(figures).toMatchObject({
    creates: rotations,
    compensations: 0,
    withOneLiveKey: rotations,
    servedAndLive: rotations,
  })
})

it('four processes that are killed leave one live key for each', async () => {
  const figures = await claimDueRotations({ rotations, processes: 4, kills: 6 })

  console.log(JSON.stringify(figures))
  expect(figures.creates - figures.compensations).toBe(rotations)
  expect(figures.withOneLiveKey).toBe(rotations)
  expect(figures.servedAndLive).toBe(rotations)
})
