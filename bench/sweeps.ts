import type { Clock, Instant } from '../src/domain/time.ts'
import { addSeconds, hour, minute } from '../src/domain/time.ts'
import { systemClock } from '../src/host/clock.ts'
import { loadConfig } from '../src/host/config.ts'
import { createLog } from '../src/host/log.ts'
import type { Scope } from '../src/lifecycle/engine.ts'
import { findDue } from '../src/lifecycle/engine.ts'
import { checkConfig, startCustody } from '../src/main.ts'
import { documentCodec } from '../src/scim/codec.ts'
import { openStore } from '../src/store/open.ts'
import type { Reads } from '../src/store/store.ts'
import { environmentOf, execute, updateEach } from './database.ts'
import { idAt, isPerson } from './fixtures.ts'
import { longestHold } from './loop.ts'

/** How long looking takes, all statements together, and the longest of them, in milliseconds. */
export interface Looking {
  readonly found: number
  readonly totalMs: number
  readonly statementMs: number
  readonly holdMs: number
}

const past = '2026-11-01T00:00:00.000Z' as Instant
const groupGrace = { least: hour, most: hour }
const everything: Scope = { changedSince: null, groupGrace, replan: false }

/** Looks for orphans in a store, as a sweep's thread does. */
async function look(read: Reads, now: Instant, scope: Scope): Promise<Looking> {
  let statementMs = 0
  let found = 0
  const timed = new Proxy(read, {
    get(reads, name) {
      const method = reads[name as keyof Reads] as (...args: unknown[]) => Promise<unknown>
      return async (...args: unknown[]) => {
        const since = performance.now()
        const answer = await method(...args)
        statementMs = Math.max(statementMs, performance.now() - since)
        return answer
      }
    },
  })
  // Within: the hold is watched for some milliseconds longer.
  const { result: totalMs, holdMs } = await longestHold(async () => {
    const since = performance.now()
    for await (const batch of findDue(timed, 'orphans', now, scope)) found += batch.length
    return performance.now() - since
  })
  return { found, totalMs, statementMs, holdMs }
}

/** Every account is looked at: nobody has left. */
export async function measureFull(url: string, rounds: number): Promise<readonly Looking[]> {
  const store = await openStore({ url, codec: documentCodec, readonly: true })
  try {
    const now = systemClock.now()
    // Once to fill the cache, as a sweep an hour ago has.
    await look(store.read, now, everything)
    const rows: Looking[] = []
    for (let i = 0; i < rounds; i++) rows.push(await look(store.read, now, everything))
    return rows
  } finally {
    await store.close()
  }
}

/**
 * So many people changed within the last minute. `handled`: what they owned is closed, as the
 * fan-out leaves it; otherwise ten open accounts of each are found.
 */
export async function measureDelta(
  url: string,
  owners: number,
  rounds: number,
): Promise<{ readonly handled: readonly Looking[]; readonly open: readonly Looking[] }> {
  const now = systemClock.now()
  const people = Array.from({ length: owners }, (_, i) => idAt(i * 11))
  await execute(url, updateEach(`active = 0, updated_at = '${now}'`, 'id', people))
  const scope: Scope = { ...everything, changedSince: addSeconds(now, -60) }
  const run = async (): Promise<readonly Looking[]> => {
    const store = await openStore({ url, codec: documentCodec, readonly: true })
    const rows: Looking[] = []
    await look(store.read, now, scope)
    for (let i = 0; i < rounds; i++) rows.push(await look(store.read, now, scope))
    await store.close()
    return rows
  }
  const open = await run()
  await execute(url, updateEach(`status = 'disabled'`, 'owner_id', people))
  return { handled: await run(), open }
}

/** What the expiry sweep does in its thread and here, with journal and audit. */
export interface Acting {
  readonly acted: number
  readonly perSecond: number
  /** Of the main thread, for each. */
  readonly cpuMicroseconds: number
  readonly holdMs: number
}

/** Acts on so many accounts that have expired, in a database that nobody has open. */
export async function measureActing(home: string, url: string, count: number): Promise<Acting> {
  // Code that nobody ran before is slower by half; what a server runs each minute is not.
  const before = Math.min(2_000, count)
  await expire(url, before)
  let minutes = 0
  const clock: Clock = {
    now: () => addSeconds(systemClock.now(), minutes * minute),
    monotonic: () => systemClock.monotonic(),
    after: (...want) => systemClock.after(...want),
  }
  const config = await loadConfig({ env: environmentOf(home, url), cwd: home }, checkConfig)
  const custody = await startCustody({
    config,
    clock,
    roles: ['scheduler'],
    log: createLog({ level: 'error', write: () => undefined }),
  })
  try {
    await custody.scheduler!.run('expiry')
    await expire(url, before + count)
    minutes += 1
    const used = process.threadCpuUsage()
    const { result, holdMs } = await longestHold(() => custody.scheduler!.run('expiry'))
    const { user, system } = process.threadCpuUsage(used)
    const { started: acted, seconds } = result
    if (acted !== count) throw new Error(`the sweep acted on ${JSON.stringify(result)}`)
    return { acted, perSecond: acted / seconds, cpuMicroseconds: (user + system) / acted, holdMs }
  } finally {
    await custody.close()
  }
}

/** Lets the first so many accounts expire; those that are closed already stay so. */
export async function expire(url: string, count: number): Promise<void> {
  const accounts: string[] = []
  for (let i = 0; accounts.length < count; i++) if (!isPerson(i)) accounts.push(idAt(i))
  await execute(url, updateEach(`expires_at = '${past}'`, 'id', accounts))
}
