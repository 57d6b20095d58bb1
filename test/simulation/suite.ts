import { describe, expect, it } from 'vitest'
import { simulate } from './simulate.ts'

/** Lives of a small installation from seeds in a row; `SEED` says the first of all suites'. */
export function simulationSuite(options: {
  readonly seeds: number
  /** Where this suite's begin, counted from the first; suites in files of their own run side by side. */
  readonly offset: number
  readonly timeoutSeconds: number
}): void {
  const { seeds, offset } = options
  // The day's number: files that run side by side agree on it without a word.
  const start = Number(process.env['SEED'] ?? Math.floor(Date.now() / 86_400_000) * 100_003)
  const first = (start + offset) % 2 ** 30

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
