import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { instantOf } from '../../src/domain/time.ts'
import { systemClock } from '../../src/host/clock.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import { census, issueAll, lifeOver } from '../support/claims.ts'
import { eventually } from '../support/custody.ts'
import { treeFault } from './audit-tree.ts'
import { chanceOf } from './chance.ts'
import type { Ground, Replica } from './ground.ts'

const replicas = 3
/** Beyond the 60 s of a lease, a worker that wakes up finds its work in other hands. */
const stopSeconds = [5, 60] as const
/** How far the machines' clocks are off, one each. */
const skews = [120, 0, -120]

export interface RotationsOrder {
  readonly rotations: number
  readonly kills: number
  readonly stops: number
  readonly seed: number
  readonly say: (line: string) => void
}

export interface RotationsFigures {
  readonly seed: number
  readonly rotations: number
  readonly kills: number
  readonly stops: number
  /** Seconds that each stopped replica stood still. */
  readonly stood: readonly number[]
  readonly creates: number
  /** Deletions beyond the one old key of each rotation. */
  readonly compensations: number
  readonly withOneLiveKey: number
  readonly servedAndLive: number
  /** Mints that the audit log has, as issued or as a stray that was removed. */
  readonly audited: number
  /** What is wrong with the audit tree, recomputed from its rows; null when nothing is. */
  readonly tree: string | null
  readonly seconds: number
}

const daysAgo = (days: number) => instantOf(Date.now() - days * 86_400_000)

/** Makes the accounts and their first keys, a month ago, with nobody else there. */
export async function issueKeys(ground: Ground, count: number): Promise<void> {
  const store = await openStore({ url: ground.storeUrl, codec: documentCodec })
  const clock = { ...systemClock, now: () => daysAgo(31) }
  const { accessKeyId, secretAccessKey } = ground.aws.world.admin
  const order = { awsUrl: ground.aws.url, accessKeyId, secretAccessKey }
  await issueAll(await lifeOver(store, clock, order), count)
  await store.close()
}

/**
 * All keys fall due at once. Three replicas rotate them, on machines whose clocks are two minutes off
 * either way; some are killed and replaced, some stand still for up to a minute and go on.
 */
export async function runRotations(
  ground: Ground,
  order: RotationsOrder,
): Promise<RotationsFigures> {
  const { rotations, say } = order
  const chance = chanceOf(order.seed)
  const { aws } = ground
  // A date that is not thirty days after the key would be put right by the sweep instead of acted on.
  const dueAt = daysAgo(1)
  await ground.sql(`update credential set issued_at = '${daysAgo(31)}', rotate_after = '${dueAt}'`)
  const before = {
    creates: aws.succeeded('CreateAccessKey'),
    deletes: aws.succeeded('DeleteAccessKey'),
    audited: await mintsAudited(ground),
  }
  const began = performance.now()
  const running: Replica[] = []
  let started = 0
  const start = async (): Promise<void> => {
    const ahead = skews[started % skews.length]!
    running.push(await ground.start(`replica-${order.seed}-${started++}`, { ahead, sweeps: true }))
  }
  await Promise.all(Array.from({ length: replicas }, start))
  const made = () => aws.succeeded('CreateAccessKey') - before.creates

  const blows = [
    ...Array.from({ length: order.kills }, () => 'kill' as const),
    ...Array.from({ length: order.stops }, () => 'stop' as const),
  ].map((what) => ({ what, at: Math.floor(chance.between(0.02, 0.95) * rotations) }))
  blows.sort((a, b) => a.at - b.at)
  const stood: number[] = []
  const standing = new Set<Replica>()
  const waking: Promise<void>[] = []
  for (const { what, at } of blows) {
    await eventually(made, (count) => count >= at, 600_000)
    // One that stands still already would be no blow at all.
    const victim = await eventually(
      () => {
        const awake = running.filter((replica) => !standing.has(replica))
        return awake.length > 0 ? chance.of(awake) : null
      },
      (found) => found !== null,
      90_000,
    )
    if (victim === null) throw new Error('all replicas stand still')
    if (what === 'kill') {
      say(`  ${made()} made: SIGKILL ${victim.name}`)
      running.splice(running.indexOf(victim), 1)
      victim.child.kill('SIGKILL')
      await once(victim.child, 'exit')
      await start()
    } else {
      const seconds = chance.between(...stopSeconds)
      say(`  ${made()} made: SIGSTOP ${victim.name} for ${seconds.toFixed(0)} s`)
      stood.push(Math.round(seconds))
      victim.child.kill('SIGSTOP')
      standing.add(victim)
      waking.push(
        sleep(seconds * 1_000).then(() => {
          victim.child.kill('SIGCONT')
          standing.delete(victim)
        }),
      )
    }
  }
  await Promise.all(waking)
  await eventually(
    () => openOrOld(ground, dueAt),
    (open) => open === 0,
    900_000,
  )
  // Whoever slept has to find out that its time is over.
  await sleep(2_000)
  await eventually(
    () => openOrOld(ground, dueAt),
    (open) => open === 0,
    300_000,
  )
  const seconds = (performance.now() - began) / 1_000
  await settled(ground)
  for (const replica of running) {
    replica.child.kill('SIGTERM')
    await once(replica.child, 'exit')
  }
  const store = await openStore({ url: ground.storeUrl, codec: documentCodec, readonly: true })
  const found = await census(store, aws)
  const tree = await treeFault(store)
  await store.close()
  return {
    seed: order.seed,
    rotations,
    kills: order.kills,
    stops: order.stops,
    stood,
    creates: made(),
    compensations: aws.succeeded('DeleteAccessKey') - before.deletes - rotations,
    ...found,
    audited: (await mintsAudited(ground)) - before.audited,
    tree,
    seconds,
  }
}

/** What is wrong with a run; null when nothing is. */
export function anomalyOf(f: RotationsFigures): string | null {
  if (f.creates - f.compensations !== f.rotations)
    return 'keys made less keys taken back is not the number of rotations'
  if (f.withOneLiveKey !== f.rotations) return 'a credential has no key, or two'
  if (f.servedAndLive !== f.rotations) return 'what is served does not authenticate'
  if (f.audited !== f.creates) return 'a key that was made is not in the audit log'
  return f.tree === null ? null : `the audit tree: ${f.tree}`
}

async function openOrOld({ sql }: Ground, dueAt: string): Promise<number> {
  const [row] = await sql<{ open: string }>(
    `select (select count(*) from operation where status in ('queued', 'running', 'waiting', 'needsOperator'))
      + (select count(*) from credential where rotate_after = '${dueAt}') as open`,
  )
  return Number(row!.open)
}

/** Until the audit log is in one order, and signed. */
export async function settled({ storeUrl }: Pick<Ground, 'storeUrl'>): Promise<void> {
  const store = await openStore({ url: storeUrl, codec: documentCodec, readonly: true })
  try {
    await eventually(
      () => treeFault(store),
      (fault) => fault === null,
      60_000,
    )
  } finally {
    await store.close()
  }
}

async function mintsAudited({ sql }: Ground): Promise<number> {
  const [row] = await sql<{ n: string }>(
    `select count(distinct facts::jsonb ->> 'keyId') as n from audit
      where action in ('key.issued', 'key.strayRemoved', 'key.strayDisabled')`,
  )
  return Number(row!.n)
}
