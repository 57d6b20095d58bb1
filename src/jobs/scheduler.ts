import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Worker as Thread } from 'node:worker_threads'
import Bree from 'bree'
import type { Clock, Instant } from '../domain/time.ts'
import { instantOf } from '../domain/time.ts'
import type { Lifecycle, Proposal, SweepName } from '../lifecycle/engine.ts'
import { applyBatch, reconcilable } from '../lifecycle/engine.ts'

/** How often each sweep has a slot. The first run comes with the first full slot after the start. */
export const slotSeconds: Readonly<Record<SweepName, number>> = {
  orphans: 60,
  expiry: 60,
  rotation: 300,
  reconcile: 3_600,
}

/** What a sweep's thread is started with. */
export interface SweepOrder {
  readonly sweep: SweepName
  readonly storeUrl: string
  /** Those whose inventory can be taken. */
  readonly providers: readonly string[]
}

/** What a thread posts to the main thread; each but `done` is answered before it goes on. */
export type SweepMessage =
  | { readonly type: 'take' }
  | { readonly type: 'batch'; readonly batch: readonly Proposal[] }
  | { readonly type: 'finished'; readonly found: number }
  | { readonly type: 'failed'; readonly message: string }

export type SweepReply =
  /** `now` null: the slot was taken before, by another start or another replica. */
  { readonly type: 'slot'; readonly now: Instant | null } | { readonly type: 'applied' }

export interface SweepEvent {
  readonly sweep: SweepName
  readonly slot: Instant
  readonly outcome: 'finished' | 'skipped' | 'failed' | 'overlap'
  readonly found: number
  readonly started: number
  readonly failed: number
  readonly message: string | null
}

export interface Scheduler {
  /** Runs one sweep in its thread now, outside its interval; resolves when the thread has ended. */
  run(sweep: SweepName): Promise<SweepEvent>
  stop(): Promise<void>
}

/** The slot an instant belongs to: fixed points in time, the same on every replica. */
export function slotOf(sweep: SweepName, now: Instant): Instant {
  const width = slotSeconds[sweep] * 1_000
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
  const providers = reconcilable(life)
  const entry = fileURLToPath(
    new URL(`./threads/sweep${path.extname(import.meta.url)}`, import.meta.url),
  )

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
    jobs: (Object.keys(slotSeconds) as SweepName[]).map((sweep) => ({
      name: sweep,
      path: entry,
      interval: slotSeconds[sweep] * 1_000,
      worker: { workerData: { sweep, storeUrl: host.storeUrl, providers } satisfies SweepOrder },
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
      started: 0,
      failed: 0,
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
      started: run.started,
      failed: run.failed,
      ...conclusion,
    }
    host.log(event)
    run.resolve(event)
  }

  function overlapped(warning: unknown): void {
    const text = warning instanceof Error ? warning.message : ''
    const name = /^Job "(\w+)" is already running$/.exec(text)?.[1]
    const sweep = (Object.keys(slotSeconds) as SweepName[]).find((s) => s === name)
    if (sweep === undefined) return
    const slot = slotOf(sweep, clock.now())
    host.log({
      sweep,
      slot,
      outcome: 'overlap',
      found: 0,
      started: 0,
      failed: 0,
      message: 'the run before it is not over',
    })
  }

  async function answer(sweep: SweepName, message: SweepMessage, thread: Thread): Promise<void> {
    const run = open(sweep)
    switch (message.type) {
      case 'take': {
        const now = clock.now()
        const taken = await life.store.commit([
          { type: 'slot', job: sweep, slot: run.slot, worker: host.worker, at: now },
        ])
        const reply: SweepReply = { type: 'slot', now: taken === 'saved' ? now : null }
        thread.postMessage(reply)
        if (taken !== 'saved') conclude(sweep, 'skipped', 'the slot was taken before')
        return
      }
      case 'batch': {
        const applied = await applyBatch(life, sweep, message.batch)
        run.started += applied.reduce((sum, item) => sum + item.operations.length, 0)
        run.failed += applied.filter((item) => item.error !== null).length
        thread.postMessage({ type: 'applied' } satisfies SweepReply)
        return
      }
      case 'finished':
        conclude(sweep, 'finished', null, message.found)
        return
      case 'failed':
        conclude(sweep, 'failed', message.message)
    }
  }

  bree.on('worker deleted', (name: string) => over(name as SweepName))
  await bree.start()
  return {
    async run(sweep) {
      const earlier = runs.get(sweep)
      if (earlier) await earlier.ended
      const run = open(sweep)
      await bree.run(sweep)
      return run.ended
    },
    async stop() {
      await bree.stop()
      for (const sweep of runs.keys()) over(sweep)
    },
  }
}

interface Run {
  readonly slot: Instant
  started: number
  failed: number
  conclusion: Pick<SweepEvent, 'outcome' | 'message' | 'found'> | null
  readonly ended: Promise<SweepEvent>
  readonly resolve: (event: SweepEvent) => void
}
