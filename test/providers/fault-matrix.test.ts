import { afterEach, describe, expect, it } from 'vitest'
import { ProviderError } from '../../src/provider/contract.ts'
import { Faults } from '../../src/sandbox/faults.ts'
import { benches } from '../support/fault-benches.ts'
import type { Bench, Scene } from '../support/fault-matrix.ts'
import { cellsOf, sampleOf, tryCell } from '../support/fault-matrix.ts'

// A sample; test/long tries every fault at every operation of every call.
describe.each(Object.entries(benches))('%s under faults', (_, open) => {
  let bench: Bench
  afterEach(() => bench.close())

  it('tells honestly what happened, and comes to one effect when it is repeated', async () => {
    bench = open()
    const cells = await cellsOf(bench)

    const wrong: string[] = []
    for (const cell of sampleOf(cells, 30)) wrong.push(...(await tryCell(bench, cell)))

    expect(cells.length).toBeGreaterThan(50)
    expect(wrong).toEqual([])
  })
})

describe('the fault matrix', () => {
  /** A provider of one call: `act` sees whether the request is let through. */
  function benchOf(run: (ask: () => boolean, world: string[]) => void): Bench {
    const faults = new Faults()
    const calls: string[] = []
    const ask = () => {
      calls.push('Write')
      return faults.take('Write') === null
    }
    const write = async (): Promise<Scene> => {
      const world: string[] = []
      return {
        run: async () => run(ask, world),
        truth: () => world,
        secrets: ['hush-hush'],
        isSingle: true,
      }
    }
    return { faults, calls, rest: () => {}, scenes: { write }, close: () => Promise.resolve() }
  }
  const throttled = (message = 'slow down') =>
    new ProviderError('throttled', message, { outcome: 'notApplied' })

  it.each<[string, RegExp | null, (ask: () => boolean, world: string[]) => void]>([
    [
      'an honest call',
      null,
      (ask, world) => {
        if (!ask()) throw throttled()
        world.push('x')
      },
    ],
    [
      'one that repeats by itself',
      /it asked 6 times instead of 1/,
      (ask, world) => {
        for (let i = 0; i < 6; i++) if (ask()) return void world.push('x')
        throw throttled()
      },
    ],
    [
      'one that takes back nothing of what it calls not applied',
      /but the world changed/,
      (ask, world) => {
        world.push('x')
        if (!ask()) throw throttled()
      },
    ],
    [
      'one that fails with anything',
      /it fails with Error: bang/,
      (ask, world) => {
        if (!ask()) throw new Error('bang')
        world.push('x')
      },
    ],
    [
      'one that tells its secret',
      /it shows a secret/,
      (ask, world) => {
        if (!ask()) throw throttled('cannot store hush-hush')
        world.push('x')
      },
    ],
    [
      'one that never recovers',
      /repeated, it still fails with throttled/,
      (ask, world) => {
        if (!ask() || world.includes('failed')) {
          world.push('failed')
          throw throttled()
        }
      },
    ],
  ])('sees through %s', async (_, expected, run) => {
    const bench = benchOf(run)
    const [cell] = await cellsOf(bench)

    const wrong = await tryCell(bench, { ...cell!, fault: { kind: 'reset' } })

    expect(wrong.join('\n')).toMatch(expected ?? /^$/)
  })
})
