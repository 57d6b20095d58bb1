import { describe, expect, it } from 'vitest'
import { simulate } from './simulate.ts'

/** Lives of a small installation from seeds in a row; `SEED` says the first. */
export function simulationSuite(options: {
  readonly seeds: number
  readonly minutes: number
  readonly timeoutSeconds?: number
}): void {
  const { seeds, minutes } = options
  const first = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 30))

  describe(`${seeds} simulated lives (seeds from ${first})`, () => {
    it(
      'break no law',
      async () => {
        let deaths = 0
        for (let seed = first; seed < first + seeds; seed++) {
          const outcome = await simulate(seed, { minutes })
          deaths += outcome.deaths
          const replay = `npm run simulate -- --seeds 1 --start ${seed} --minutes ${minutes} --story`
          expect(outcome.violation, `seed ${seed}; replay it: ${replay}`).toBeNull()
        }
        // Otherwise nothing was tried that the laws are about.
        expect(deaths).toBeGreaterThan(seeds / 4)
      },
      (options.timeoutSeconds ?? 60) * 1_000,
    )
  })
}
