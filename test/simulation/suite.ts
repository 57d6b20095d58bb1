import { describe, expect, it } from 'vitest'
import { simulate } from './simulate.ts'

/** Lives of a small installation from seeds in a row; drawn anew each time unless `SEED` says which. */
export function simulationSuite(options: {
  readonly seeds: number
  /** Where this suite's begin, counted from `SEED`: suites in files of their own run side by side. */
  readonly offset: number
  readonly timeoutSeconds: number
}): void {
  const { seeds, offset } = options
  const given = process.env['SEED']
  const first = given === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(given) + offset

  describe(`${seeds} simulated lives (seeds from ${first})`, () => {
    it(
      'break no law',
      async () => {
        let deaths = 0
        for (let seed = first; seed < first + seeds; seed++) {
          const outcome = await simulate(seed)
          deaths += outcome.deaths
          const replay = `npm run simulate -- --seeds 1 --start ${seed} --story`
          expect(outcome.violation, `SEED=${seed}; replay it: ${replay}`).toBeNull()
        }
        // Otherwise nothing was tried that the laws are about.
        expect(deaths).toBeGreaterThan(seeds / 5)
      },
      options.timeoutSeconds * 1_000,
    )
  })
}
