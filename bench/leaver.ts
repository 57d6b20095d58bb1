import { EventEmitter, once } from 'node:events'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { urlOf } from './database.ts'
import { homeOf, idAt, isPerson, scratchHome } from './fixtures.ts'
import type { Leaving } from './leaving.ts'
import { measureLeaving } from './leaving.ts'
import { drain, spread } from './measure.ts'
import type { Spread } from './measure.ts'
import { PacedClient } from './paced.ts'
import type { Postgres } from './postgres.ts'
import { startPostgres } from './postgres.ts'
import { startServer } from './process.ts'
import { expire, measureActing, measureDelta, measureFull } from './sweeps.ts'

export interface LeaverOptions {
  /** Accounts of the owners who leave, one leaver after the other. */
  readonly accounts: readonly number[]
  /** Resources in the database that is swept. */
  readonly size: number
  /** Accounts that expire. */
  readonly due: number
  readonly rounds: number
  readonly seconds: number
  readonly only: readonly string[]
  readonly store: 'sqlite' | 'postgres'
  readonly say: (text: string) => void
}

/** One figure, and how it compares with what must be reached. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly value: Spread
  readonly atMost?: number
  readonly atLeast?: number
}

/** People who changed since the last look. */
const changedOwners = 1_000
const requestsPerSecond = 1_000

/** The databases of one run, whichever the store is. */
interface Databases {
  /** Of a size, for looking only. */
  kept(size: number): Promise<string>
  /** A copy of a size for writing into, and a home of its own. */
  copy(size: number, name: string): Promise<{ readonly home: string; readonly url: string }>
  empty(): Promise<string | null>
}

function onSqlite(say: LeaverOptions['say']): Databases {
  return {
    kept: async (size) => urlOf(await homeOf(size, say)),
    async copy(size, name) {
      const home = await scratchHome(await homeOf(size, say), name)
      return { home, url: urlOf(home) }
    },
    empty: async () => null,
  }
}

function onPostgres(postgres: Postgres, say: LeaverOptions['say']): Databases {
  return {
    kept: (size) => postgres.filled(size),
    copy: async (size, name) => ({
      home: await scratchHome(await homeOf(1_000, say), name),
      url: await postgres.filled(size),
    }),
    empty: () => postgres.empty(),
  }
}

export async function runLeaver(options: LeaverOptions): Promise<readonly Figure[]> {
  const { only, say } = options
  const wants = (part: string): boolean =>
    only.length === 0 || only.some((prefix) => part.startsWith(prefix))
  const postgres = options.store === 'postgres' ? await startPostgres(say) : null
  const databases = postgres === null ? onSqlite(say) : onPostgres(postgres, say)
  try {
    return [
      ...(wants('leaving') ? await leaving(options, databases) : []),
      ...(wants('sweeps') ? await sweeps(options, databases) : []),
      ...(wants('requests') ? await requests(options, databases) : []),
    ]
  } finally {
    await postgres?.close()
  }
}

async function leaving(
  { accounts, rounds, say }: LeaverOptions,
  databases: Databases,
): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  // Code that nobody ran before is slower by half: a server has run it since it was started.
  await measureLeaving(50, () => undefined, await databases.empty())
  for (const count of accounts) {
    const found: Leaving[] = []
    for (let i = 0; i < rounds; i++) {
      found.push(await measureLeaving(count, say, await databases.empty()))
    }
    const of = (pick: (one: Leaving) => number): Spread => spread(found.map(pick))
    const name = (what: string): string => `${what} @${count}`
    figures.push(
      {
        name: name('switch: the owner’s row'),
        unit: 'ms',
        value: of((l) => l.switchMs),
        atMost: 5,
      },
      {
        name: name('all accounts disabling'),
        unit: 'ms',
        value: of((l) => l.disablingMs),
        atMost: 1_000,
      },
      {
        name: name('… longest hold of the loop'),
        unit: 'ms',
        value: of((l) => l.holdMs),
        atMost: 10,
      },
      {
        name: name('all keys refused by AWS'),
        unit: 's',
        value: of((l) => l.refusedMs / 1_000),
        atMost: count <= 200 ? 10 : 30,
      },
      { name: name('impact'), unit: 'ms', value: of((l) => l.impactMs) },
      {
        name: name('… longest hold of the loop, impact'),
        unit: 'ms',
        value: of((l) => l.impactHoldMs),
        atMost: 10,
      },
      { name: name('offboarding report'), unit: 'ms', value: of((l) => l.reportMs) },
      {
        name: name('… longest hold of the loop, report'),
        unit: 'ms',
        value: of((l) => l.reportHoldMs),
        atMost: 10,
      },
    )
  }
  return figures
}

async function sweeps(
  { size, due, rounds, say }: LeaverOptions,
  databases: Databases,
): Promise<readonly Figure[]> {
  say('looking for orphans among all')
  const full = await measureFull(await databases.kept(size), rounds)
  const small = Math.min(size, 100_000)
  say('looking for orphans among what changed')
  const changed = await databases.copy(small, 'delta')
  const delta = await measureDelta(changed.url, changedOwners, rounds)
  say('acting on what has expired')
  const acting = []
  for (let i = 0; i < rounds; i++) {
    const { home, url } = await databases.copy(small, `expiry-${i}`)
    acting.push(await measureActing(home, url, due))
  }
  const of = <T>(rows: readonly T[], pick: (row: T) => number): Spread => spread(rows.map(pick))
  return [
    {
      name: `orphans, full, of ${size}`,
      unit: 's',
      value: of(full, (l) => l.totalMs / 1_000),
      atMost: 2,
    },
    { name: '… longest statement', unit: 'ms', value: of(full, (l) => l.statementMs), atMost: 10 },
    { name: '… longest slice', unit: 'ms', value: of(full, (l) => l.holdMs), atMost: 10 },
    {
      name: `orphans, delta, ${changedOwners} owners, handled`,
      unit: 'ms',
      value: of(delta.handled, (l) => l.totalMs),
      atMost: 5,
    },
    {
      name: `orphans, delta, ${changedOwners} owners, ten accounts each found`,
      unit: 'ms',
      value: of(delta.open, (l) => l.totalMs),
    },
    { name: 'expiry, acted on', unit: '/s', value: of(acting, (a) => a.perSecond), atLeast: 5_000 },
    {
      name: '… work of the main thread per account',
      unit: 'µs',
      value: of(acting, (a) => a.cpuMicroseconds),
    },
    {
      name: '… longest slice of the main thread',
      unit: 'ms',
      value: of(acting, (a) => a.holdMs),
      atMost: 10,
    },
  ]
}

/** GET at a fixed rate, with nothing else to do and during sweeps over the same database. */
async function requests(
  { size, due, rounds, seconds, say }: LeaverOptions,
  databases: Databases,
): Promise<readonly Figure[]> {
  const { home, url } = await databases.copy(size, 'requests')
  const server = await startServer('sweeping.ts', [home, url], [], { core: null })
  const token = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
  const paths = Array.from({ length: 5_000 }, (_, i) => Math.floor((i * size) / 5_000))
    .filter((index) => !isPerson(index))
    .map((index) => `/scim/v2/Users/${idAt(index)}`)
  const swept: { readonly holdMs: number }[] = []
  const told = new EventEmitter()
  createInterface({ input: server.stdout }).on('line', (line) => {
    if (!line.startsWith('swept ')) return
    swept.push(JSON.parse(line.slice(6)) as { holdMs: number })
    told.emit('swept')
  })
  const ratios: number[] = []
  const idles: number[] = []
  const busies: number[] = []
  const client = await PacedClient.open({
    url: server.url,
    token,
    perSecond: requestsPerSecond,
    connections: 50,
    paths,
  })
  // Each round has others fall due, for as long as the sweeps of all of them take.
  const sweep = async (round: number): Promise<void> => {
    await expire(url, due * (round + 1))
    const over = once(told, 'swept')
    process.kill(server.pid, 'SIGUSR2')
    await over
  }
  try {
    await client.run(sweep(0))
    for (let i = 0; i < rounds; i++) {
      await drain(server)
      const idle = await client.run(new Promise((resolve) => setTimeout(resolve, seconds * 1_000)))
      const during = await client.run(sweep(i + 1))
      say(
        `idle p50 ${idle.p50.toFixed(2)} p99 ${idle.p99.toFixed(1)} max ${idle.max.toFixed(0)} ms of ${idle.count}, during sweeps p50 ${during.p50.toFixed(2)} p99 ${during.p99.toFixed(1)} max ${during.max.toFixed(0)} ms of ${during.count}`,
      )
      idles.push(idle.p99)
      busies.push(during.p99)
      ratios.push(during.p99 / idle.p99)
    }
    client.close()
  } finally {
    await server.stop()
  }
  return [
    { name: `GET at ${requestsPerSecond}/s, p99 idle`, unit: 'ms', value: spread(idles) },
    { name: '… p99 during sweeps', unit: 'ms', value: spread(busies) },
    { name: '… during sweeps / idle', unit: '×', value: spread(ratios), atMost: 2 },
    {
      name: '… longest slice of the main thread',
      unit: 'ms',
      value: spread(swept.map((s) => s.holdMs)),
    },
  ]
}
