import { getCompileCacheDir } from 'node:module'
import path from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Worker as Thread } from 'node:worker_threads'
import type { Clock, Instant } from '../domain/time.ts'
import { addSeconds, instantOf } from '../domain/time.ts'
import type { Lifecycle, Proposal, Scope, SweepName } from '../lifecycle/engine.ts'
import { applyBatch, reconcilable, sweepNames, sweepSealed } from '../lifecycle/engine.ts'
import { Setbacks } from './setbacks.ts'
import type { SweepEvent, SweepStats } from './stats.ts'
import { counted, noStats } from './stats.ts'

export type { SweepEvent, SweepStats } from './stats.ts'

/** How often each sweep has a slot; orphans are all looked for once an hour. */
export const slotSeconds: Readonly<Record<SweepName, number>> = {
  orphans: 60,
  expiry: 60,
  // A lease that its provider ends after an hour is renewed ten minutes before.
  rotation: 60,
  reconcile: 3_600,
}

/** What a sweep's thread is started with. */
export interface SweepOrder {
  readonly sweep: SweepName
  readonly storeUrl: string
  /** Where this process keeps compiled code; null = nowhere. */
  readonly compiledCode: string | null
}

/** What a thread posts to the main thread; each but `done` is answered before it goes on. */
export type SweepMessage =
  | { readonly type: 'take' }
  | { readonly type: 'batch'; readonly batch: readonly Proposal[] }
  | { readonly type: 'finished'; readonly found: number }
  | { readonly type: 'failed'; readonly message: string }

export type SweepReply =
  /** null: the slot was taken before, by another start or another replica. */
  | {
      readonly type: 'slot'
      readonly order: { readonly now: Instant; readonly scope: Scope } | null
    }
  | { readonly type: 'applied' }

export interface Scheduler {
  /** Runs one sweep in its thread now, outside its interval; resolves when the thread has ended. */
  run(sweep: SweepName): Promise<SweepEvent>
  stats(): Readonly<Record<SweepName, SweepStats>>
  stop(): Promise<void>
}

/** A full look for orphans has slots of its own; between them only what changed is looked at. */
const fullJob = 'orphans:full'
const fullSeconds = 3_600

/**
 * The changes a run looks at begin this long before the run before it: a commit may come some time
 * after the instant it carries, and another replica's clock may be late.
 */
const marginSeconds = 300

/** Which policy the rotations were last dated by. */
const datedBy = 'rotations dated by policy'

/** The slot an instant belongs to: fixed points in time, the same on every replica. */
export function slotOf(sweep: SweepName, now: Instant): Instant {
  return slotAt(slotSeconds[sweep], now)
}

function slotAt(seconds: number, now: Instant): Instant {
  const width = seconds * 1_000
  return instantOf(Math.floor(Date.parse(now) / width) * width)
}

/**
 * Starts each sweep in a worker thread at its interval. A thread takes `(job, slot)`, reads with its
 * own handle and posts batches; acting on them stays on the main thread's one write queue, since a
 * second writer on the same file blocked the loop for 0.4–1.5 s.
 */
export async function startScheduler(host: {
  readonly life: Lifecycle
  readonly storeUrl: string
  readonly clock: Clock
  readonly worker: string
  readonly log: (event: SweepEvent) => void
}): Promise<Scheduler> {
  const { life, clock } = host
  const runs = new Map<SweepName, Run>()
  const setbacks = new Map(sweepNames.map((sweep) => [sweep, new Setbacks()]))
  const stats = new Map<SweepName, SweepStats>(sweepNames.map((sweep) => [sweep, noStats]))
  /** When the last run that came to its end began, here. */
  let orphansSeenAt: Instant | null = null
  const entry = fileURLToPath(
    new URL(`./threads/sweep${path.extname(import.meta.url)}`, import.meta.url),
  )

  // Below it each version of Node has a directory of its own.
  const kept = getCompileCacheDir()
  const compiledCode = kept === undefined ? null : path.dirname(kept)

  const { default: Bree } = await import('bree')
  const bree = new Bree({
    root: false,
    logger: {
      info: () => undefined,
      error: () => undefined,
      // Bree tells of an overlap by a warning and by nothing else.
      warn: (warning: unknown) => overlapped(warning),
    },
    acceptedExtensions: ['.ts', '.js'],
    errorHandler: (error: unknown, { name }: { name: string }) => {
      conclude(
        name as SweepName,
        'failed',
        error instanceof Error ? error.message : 'the thread failed',
      )
    },
    workerMessageHandler: ({ name, message }: { name: string; message: unknown }) => {
      const thread = bree.workers.get(name)
      if (message !== 'done' && thread)
        answer(name as SweepName, message as SweepMessage, thread).catch((error: unknown) => {
          // The thread waits for this answer: without it, it would never end and no slot after it run.
          const reason = error instanceof Error ? error.message : 'the answer failed'
          conclude(name as SweepName, 'failed', reason)
          void thread.terminate()
        })
    },
    jobs: sweepNames.map((sweep) => ({
      name: sweep,
      path: entry,
      // Just behind the beginning of a slot: an interval that drifts would leave one out.
      timeout: untilSlot(slotSeconds[sweep], clock.now()),
      interval: slotSeconds[sweep] * 1_000,
      worker: {
        workerData: { sweep, storeUrl: host.storeUrl, compiledCode } satisfies SweepOrder,
      },
    })),
  })

  function open(sweep: SweepName): Run {
    const known = runs.get(sweep)
    if (known) return known
    let resolve!: (event: SweepEvent) => void
    const ended = new Promise<SweepEvent>((done) => {
      resolve = done
    })
    const run: Run = {
      slot: slotOf(sweep, clock.now()),
      since: clock.monotonic(),
      policy: life.policy().version,
      order: null,
      started: 0,
      failed: 0,
      deferred: 0,
      conclusion: null,
      ended,
      resolve,
    }
    runs.set(sweep, run)
    return run
  }

  /** Notes how the run went; it is over only when its thread is, for only then can the next one start. */
  function conclude(
    sweep: SweepName,
    outcome: SweepEvent['outcome'],
    message: string | null,
    found = 0,
  ): void {
    const run = runs.get(sweep)
    if (run) run.conclusion ??= { outcome, message, found }
  }

  function over(sweep: SweepName): void {
    const run = runs.get(sweep)
    if (!run) return
    runs.delete(sweep)
    const conclusion = run.conclusion ?? {
      outcome: 'failed' as const,
      message: 'the thread ended early',
      found: 0,
    }
    const event: SweepEvent = {
      sweep,
      slot: run.slot,
      full: run.order?.scope.changedSince === null,
      started: run.started,
      failed: run.failed,
      deferred: run.deferred,
      seconds: (clock.monotonic() - run.since) / 1_000,
      ...conclusion,
    }
    tell(event)
    run.resolve(event)
  }

  function tell(event: SweepEvent): void {
    const { sweep } = event
    const waiting = setbacks.get(sweep)!.size
    stats.set(sweep, counted(stats.get(sweep)!, event, clock.now(), waiting))
    host.log(event)
  }

  function overlapped(warning: unknown): void {
    const text = warning instanceof Error ? warning.message : ''
    const name = /^Job "(\w+)" is already running$/.exec(text)?.[1]
    const sweep = sweepNames.find((s) => s === name)
    if (sweep === undefined) return
    const slot = slotOf(sweep, clock.now())
    tell({
      sweep,
      slot,
      outcome: 'overlap',
      full: false,
      found: 0,
      started: 0,
      failed: 0,
      deferred: 0,
      seconds: 0,
      message: 'the run before it is not over',
    })
  }

  async function answer(sweep: SweepName, message: SweepMessage, thread: Thread): Promise<void> {
    const run = open(sweep)
    switch (message.type) {
      case 'take': {
        const now = clock.now()
        const { slot } = run
        const taken = await life.store.commit([
          { type: 'slot', job: sweep, slot, worker: host.worker, at: now },
        ])
        if (taken === 'saved') run.order = { now, scope: await scopeOf(sweep, now) }
        else conclude(sweep, 'skipped', 'the slot was taken before')
        thread.postMessage({ type: 'slot', order: run.order } satisfies SweepReply)
        return
      }
      case 'batch':
        await act(sweep, run, message.batch)
        thread.postMessage({ type: 'applied' } satisfies SweepReply)
        return
      case 'finished':
        await act(sweep, run, setbacks.get(sweep)!.due(clock.now()))
        await seen(sweep, run)
        conclude(sweep, 'finished', null, message.found)
        thread.postMessage({ type: 'applied' } satisfies SweepReply)
        return
      case 'failed':
        conclude(sweep, 'failed', message.message)
    }
  }

  async function act(sweep: SweepName, run: Run, batch: readonly Proposal[]): Promise<void> {
    const known = setbacks.get(sweep)!
    const ready = known.ready(batch, clock.now())
    const applied = await applyBatch(life, sweep, ready)
    known.note(applied, clock.now())
    run.started += applied.reduce((sum, item) => sum + item.operations.length, 0)
    run.failed += applied.filter((item) => item.error !== null).length
    run.deferred += batch.length - ready.length
  }

  /**
   * A process looks at every account first, and then once an hour whichever replica comes first: the
   * rest of the time, at what changed since its own last run, whoever ran in between.
   */
  async function scopeOf(sweep: SweepName, now: Instant): Promise<Scope> {
    const { groupGrace, leaveGrace, planAhead, version } = life.policy()
    const providers = reconcilable(life)
    const whole: Scope = {
      changedSince: null,
      groupGrace,
      leaveGrace,
      planAhead,
      replan: false,
      providers,
    }
    switch (sweep) {
      case 'orphans': {
        const slot = slotAt(fullSeconds, now)
        const due = await life.store.commit([
          { type: 'slot', job: fullJob, slot, worker: host.worker, at: now },
        ])
        const full = orphansSeenAt === null || due === 'saved'
        return full ? whole : { ...whole, changedSince: addSeconds(orphansSeenAt!, -marginSeconds) }
      }
      case 'rotation':
        return { ...whole, replan: (await life.store.read.meta(datedBy)) !== version }
      case 'expiry':
      case 'reconcile':
        return whole
    }
  }

  /** Only what was gone through to the end counts: a run that was cut off is made up for. */
  async function seen(sweep: SweepName, { order, policy }: Run): Promise<void> {
    if (sweep === 'orphans' && order) orphansSeenAt = order.now
    if (sweep === 'expiry' && order) await life.store.commit([sweepSealed(order.now)])
    if (order?.scope.replan) {
      await life.store.commit([{ type: 'meta', key: datedBy, value: policy }])
    }
  }

  /** However many slots passed while nobody was there, they are made up for by one run (R66). */
  async function catchUp(sweep: SweepName): Promise<void> {
    const last = await life.store.read.lastSlot(sweep)
    if (last === null || last >= slotOf(sweep, clock.now())) return
    open(sweep)
    await bree.run(sweep)
  }

  bree.on('worker deleted', (name: string) => over(name as SweepName))
  await bree.start()
  for (const sweep of sweepNames) await catchUp(sweep)
  return {
    async run(sweep) {
      const earlier = runs.get(sweep)
      if (earlier) await earlier.ended
      const run = open(sweep)
      await bree.run(sweep)
      return run.ended
    },
    stats: () => Object.fromEntries(stats) as Record<SweepName, SweepStats>,
    async stop() {
      await bree.stop()
      for (const sweep of runs.keys()) over(sweep)
    },
  }
}

/** A scheduler that is started once the service answers: reading Bree alone takes 40 ms. */
export interface LaterScheduler extends Scheduler {
  /** Starts it when what runs now is done; `onError` hears of it when it cannot. */
  begin(onError: (error: unknown) => void): void
}

/** The same as `startScheduler`, at `begin` or the first `run`. */
export function schedulerForLater(host: Parameters<typeof startScheduler>[0]): LaterScheduler {
  let starting: Promise<Scheduler> | null = null
  let started: Scheduler | null = null
  const start = (): Promise<Scheduler> => {
    starting ??= setImmediate().then(async () => (started = await startScheduler(host)))
    return starting
  }
  return {
    begin: (onError) => void start().catch(onError),
    run: async (sweep) => (await start()).run(sweep),
    stats: () => started?.stats() ?? statsBefore(),
    async stop() {
      await starting?.catch(() => null)
      await started?.stop()
    },
  }
}

function statsBefore(): Readonly<Record<SweepName, SweepStats>> {
  const each = sweepNames.map((sweep) => [sweep, noStats] as const)
  return Object.fromEntries(each) as Record<SweepName, SweepStats>
}

function untilSlot(seconds: number, now: Instant): number {
  const width = seconds * 1_000
  return width - (Date.parse(now) % width) + slotDelayMs
}

/** A timer may fire a little before its time by the wall clock. */
const slotDelayMs = 500

interface Run {
  readonly slot: Instant
  readonly since: number
  /** The version of the policy when the run began: one that is replaced meanwhile has not been seen. */
  readonly policy: string
  order: { readonly now: Instant; readonly scope: Scope } | null
  deferred: number
  started: number
  failed: number
  conclusion: Pick<SweepEvent, 'outcome' | 'message' | 'found'> | null
  readonly ended: Promise<SweepEvent>
  readonly resolve: (event: SweepEvent) => void
}
