import { randomInt } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oddRequest } from './fuzz-bodies.ts'
import { oddFilter } from './fuzz-filters.ts'
import { Source } from './fuzz-source.ts'
import { blockedMax, FuzzServer } from './fuzz.ts'

/**
 * Asks one server `count` odd things after each other and judges every answer. `SEED=` repeats a
 * whole run, since what a request meets depends on those before it.
 */
export function fuzzSuite(
  kind: 'bodies' | 'filters',
  count: number,
  storeUrl?: () => Promise<string>,
): void {
  const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))

  describe(`${count} fuzzed ${kind}, seed ${seed}`, () => {
    let server: FuzzServer
    beforeAll(async () => {
      server = await FuzzServer.start(await storeUrl?.())
    })
    afterAll(() => server.close())

    it(
      'are each answered or refused as SCIM says, quickly and without a trace',
      async () => {
        for (let i = 0; i < count; i++) {
          const source = new Source(seed + i)
          const asked = kind === 'bodies' ? oddRequest(source, server.pool) : oddFilter(source)
          try {
            await server.judge(source, asked)
          } catch (cause) {
            throw new Error(`SEED=${seed} at request ${i}: ${(cause as Error).message}`, { cause })
          }
        }
        const [worst] = await server.standstills()
        const statuses = [...server.statuses]
          .sort(([a], [b]) => a - b)
          .map(([s, n]) => `${s}: ${n}`)
        console.log(
          `${count} fuzzed ${kind}, seed ${seed}: ${statuses.join(', ')}; longest standstill ${worst?.ms.toFixed(1)} ms`,
        )

        expect(worst?.ms, worst?.what).toBeLessThanOrEqual(blockedMax)
        // A fuzz in which nothing passes tests the gate alone.
        expect(server.statuses.get(200) ?? 0).toBeGreaterThan(count / 20)
      },
      30_000 + 10 * count,
    )
  })
}
