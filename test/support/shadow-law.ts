import { afterAll, beforeAll, expect, it } from 'vitest'
import { differences, startWorlds } from './shadow-suite.ts'

/** Weeks of traffic for each seed, to a world that watches and to one that enforces. */
export function shadowLaw(seeds: readonly number[]): void {
  let worlds: Awaited<ReturnType<typeof startWorlds>>
  beforeAll(async () => {
    worlds = await startWorlds()
  })
  afterAll(() => worlds.close())

  it.each(seeds)(
    'would have done what enforcing does on the same traffic (seed %i)',
    async (seed) => {
      const seen = await worlds.play(seed, 60)

      expect(differences(seen), seen.events.join('\n')).toEqual([])
      expect(seen.enforced.length).toBeGreaterThan(20)
      expect(seen.touched).toEqual([])
    },
    60_000,
  )
}
