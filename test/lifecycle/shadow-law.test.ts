import { afterAll, beforeAll, expect, it } from 'vitest'
import { startWorlds } from '../support/shadow-suite.ts'

let worlds: Awaited<ReturnType<typeof startWorlds>>
beforeAll(async () => {
  worlds = await startWorlds()
})
afterAll(() => worlds.close())

it.each(Array.from({ length: Number(process.env['SHADOW_SEEDS'] ?? 2) }, (_, i) => i + 1))(
  'would have done what enforcing does on the same traffic (seed %i)',
  async (seed) => {
    const { watched, enforced, touched, events } = await worlds.play(seed, 60)

    expect(watched, events.join('\n')).toEqual(enforced)
    expect(enforced.length).toBeGreaterThan(5)
    expect(touched).toEqual([])
  },
  60_000,
)
