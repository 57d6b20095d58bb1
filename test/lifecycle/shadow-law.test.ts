import { afterAll, beforeAll, expect, it } from 'vitest'
import { differences, startWorlds } from '../support/shadow-suite.ts'

let worlds: Awaited<ReturnType<typeof startWorlds>>
beforeAll(async () => {
  worlds = await startWorlds()
})
afterAll(() => worlds.close())

it.each(Array.from({ length: Number(process.env['SHADOW_SEEDS'] ?? 2) }, (_, i) => i + 1))(
  'would have done what enforcing does on the same traffic (seed %i)',
  async (seed) => {
    const seen = await worlds.play(seed, 60)

    expect(differences(seen), seen.events.join('\n')).toEqual([])
    expect(seen.enforced.length).toBeGreaterThan(20)
    expect(seen.touched).toEqual([])
  },
  60_000,
)
