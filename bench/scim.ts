import * as server from './cases.ts'
import type { Case, Size } from './cases.ts'
import { casesOf } from './cases.ts'
import type { Figure } from './leaver.ts'
import type { Sample } from './measure.ts'
import { drain, measure, probe, spread } from './measure.ts'
import { pinLoad } from './process.ts'
import { Servers } from './servers.ts'

/** `of` compared with `to`, in the same round. */
export interface Goal {
  readonly text: string
  readonly of: string
  readonly to: string
  readonly by: 'perSecond' | 'cpu'
  readonly atLeast?: number
  readonly atMost?: number
}

export interface Options {
  /** The first and the last are compared; what is written goes to a copy of the first. */
  readonly sizes: readonly Size[]
  readonly rounds: number
  readonly seconds: number
  /** Beginnings of what is asked; empty = all. */
  readonly only: readonly string[]
  /** Whose stores: both, unless one is named. References and peers are always there. */
  readonly store: 'sqlite' | 'postgres' | null
  /** False leaves out whoever is not Custody. */
  readonly peers: boolean
  /** Where profiles of Custody go; null = none. */
  readonly profile: string | null
  readonly say: (text: string) => void
}

/** What one case was measured to do. */
export interface Measured {
  readonly what: string
  readonly by: string
  readonly size: string
  /** One a round. */
  readonly samples: readonly Sample[]
}

/**
 * Before each timing of a large case: some hosts take file pages from whoever does not use them right
 * now. Where this was written, a quarter of a file just read was gone after 20 s, and all of it later.
 */
const rewarmSeconds = 3

/** Runs the cases in interleaved rounds. */
export async function runScim(options: Options): Promise<readonly Measured[]> {
  const { say, rounds, seconds, profile } = options
  const servers = new Servers({ profile, say })
  try {
    if (options.store !== 'sqlite' && smallest(options.sizes) <= 100_000) await servers.postgres()
    pinLoad()
    const isWanted = (what: string, by: string): boolean => wants(options, what, by)
    const cases = await casesOf({ servers, sizes: options.sizes, isWanted })
    for (const { target, load, check, ...one } of cases) {
      say(`warming ${titleOf(one)}`)
      await probe(target.server, load.asks(0)[0]!, load.token, check)
      await measure(target.server, load, Math.min(seconds * 2, isLarge(one.size) ? 8 : 2))
      await drain(target.server)
    }
    const samples = new Map<Case, Sample[]>(cases.map((c) => [c, []]))
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`)
      for (const one of cases) {
        const { server } = one.target
        if (isLarge(one.size)) await measure(server, one.load, Math.min(rewarmSeconds, seconds))
        samples.get(one)!.push(await measure(server, one.load, seconds))
        await drain(server)
      }
    }
    return cases.map((c) => ({ what: c.what, by: c.by, size: c.size, samples: samples.get(c)! }))
  } finally {
    await servers.close()
  }
}

function wants({ only, store, peers }: Options, what: string, by: string): boolean {
  if (by === server.postgres && store === 'sqlite') return false
  if (by === server.sqlite && store === 'postgres' && !peers) return false
  if (!peers && by !== server.postgres && by !== server.sqlite) return false
  return only.length === 0 || only.some((prefix) => what.startsWith(prefix))
}

export function titleOf({ what, by, size }: Pick<Measured, 'what' | 'by' | 'size'>): string {
  return `${what}, ${by}${size === '' ? '' : ` @${size}`}`
}

const smallest = (sizes: readonly Size[]): number => Math.min(...sizes.map((s) => s.count))
const isLarge = (size: string): boolean => size.endsWith('m')

/** The goals between cases, for the sizes that were run; a case that was left out leaves out its own. */
export function goalsOf(sizes: readonly string[]): readonly Goal[] {
  const [small, large] = [sizes[0]!, sizes.at(-1)!]
  const of = (what: string, by: string, size = small): string => titleOf({ what, by, size })
  const writes = ['create person', 'create account']
  const goals: Goal[] = [
    {
      text: 'raw read ≥ 0.70 × the CPU of get',
      of: of('get', server.raw),
      to: of('get', server.sqlite),
      by: 'cpu',
      atLeast: 0.7,
    },
    ...['get', 'filter userName', 'filter externalId'].map((what) => ({
      text: `${what} ≥ 10 × scimmy-routers, indexed`,
      of: of(what, server.sqlite),
      to: of(what, server.indexed),
      by: 'perSecond' as const,
      atLeast: 10,
    })),
    {
      text: 'create ≥ 5 × scimmy-routers, indexed',
      of: of('create person', server.sqlite),
      to: of('create person', server.indexed),
      by: 'perSecond',
      atLeast: 5,
    },
    {
      text: 'PostgreSQL: get ≥ 0.35 × SQLite',
      of: of('get', server.postgres),
      to: of('get', server.sqlite),
      by: 'perSecond',
      atLeast: 0.35,
    },
    {
      text: 'PostgreSQL: create ≥ 1.0 × one commit each on SQLite',
      of: of('create person', server.postgres),
      to: of('create person', server.oneCommitEach),
      by: 'perSecond',
      atLeast: 1,
    },
    ...writes.map((what) => ({
      text: `${what} ≥ 0.5 × nothing written`,
      of: of(what, server.sqlite),
      to: of(what, server.nothingWritten),
      by: 'perSecond' as const,
      atLeast: 0.5,
    })),
    {
      text: 'create ≥ 1.8 × one commit each',
      of: of('create person', server.sqlite),
      to: of('create person', server.oneCommitEach),
      by: 'perSecond',
      atLeast: 1.8,
    },
    ...[server.sqlite, server.postgres].map((by) => ({
      text: `cursor page at 0.9 N ≤ 1.2 × the first (${by})`,
      of: of('page by cursor, 0.9 N', by, by === server.sqlite ? large : small),
      to: of('page by cursor, first', by, by === server.sqlite ? large : small),
      by: 'cpu' as const,
      atMost: 1.2,
    })),
  ]
  if (small === large) return goals
  const grown = (what: string): Goal => ({
    text: `${what}: CPU at ${large} ≤ 1.35 × ${small}`,
    of: of(what, server.sqlite, large),
    to: of(what, server.sqlite),
    by: 'cpu',
    atMost: 1.35,
  })
  return [
    ...goals,
    {
      text: `get at ${small} ≥ 0.75 × the CPU of ${large}`,
      of: of('get', server.sqlite),
      to: of('get', server.sqlite, large),
      by: 'cpu',
      atLeast: 0.75,
    },
    ...['filter userName', 'filter externalId', 'filter owner'].map(grown),
  ]
}

/** Ratios to judge by: one a round, since only what ran in the same round can be compared. */
export function judge(measured: readonly Measured[], sizes: readonly string[]): readonly Figure[] {
  const samples = new Map(measured.map((one) => [titleOf(one), one.samples]))
  const ratios = goalsOf(sizes).flatMap(({ text, of, to, by, atLeast, atMost }): Figure[] => {
    const [ofs, tos] = [samples.get(of), samples.get(to)]
    if (ofs === undefined || tos === undefined) return []
    const value = spread(ofs.map((sample, round) => sample[by] / tos[round]![by]))
    const goal = atLeast === undefined ? {} : { atLeast }
    return [{ name: text, unit: '×', value, ...goal, ...(atMost === undefined ? {} : { atMost }) }]
  })
  const deep = measured.filter(({ what }) => what === 'page by index, 0.9 N')
  return [
    ...ratios,
    ...deep.map(({ by, size, samples }) => ({
      name: `startIndex at 0.9 N of ${size}: p50 (${by})`,
      unit: 'ms',
      value: spread(samples.map((sample) => sample.p50)),
      atMost: 50,
    })),
  ]
}
