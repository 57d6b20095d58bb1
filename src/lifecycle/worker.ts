import { urgentKinds } from '../domain/operation.ts'
import type { Clock } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'
import type { GateState } from './bulkhead.ts'
import { createBulkhead } from './bulkhead.ts'
import type { Lifecycle } from './context.ts'
import type { WorkerEvent } from './run.ts'
import { leaseSeconds, runOperation } from './run.ts'
import type { Watch } from './watch.ts'
import { createEndings } from './watch.ts'

export type { WorkerEvent } from './run.ts'

/** How often, in milliseconds, work is looked for behind what waits for a crowded provider. */
const passingMs = 100

const claiming = { operation: '-', kind: '-', step: 'claim', failure: null } as const
/** A database that is away is asked again soon, and then less often. */
const claimPauseMs = 500
const longestClaimPauseMs = 5_000

/** What others queue, in another process, is seen after this long at most. */
const pollSeconds = 5

export interface WorkerOptions {
  readonly name: string
  /**
   * Operations in flight at once; each holds at most one provider call open. A quarter of them is
   * kept for what takes access away, so that no rush of rotations and no hanging provider delays it.
   */
  readonly concurrency: number
  /** How long a worker with nothing to do goes without looking, for what others queue; default 5. */
  readonly pollSeconds?: number
  /** Where an operator reads of a failing step; receives no secrets. */
  readonly log: (event: WorkerEvent) => void
  /** Told of calls, endings and steps, for metrics and traces. */
  readonly watch?: Watch
}

export interface Worker {
  start(): void
  /** Something may be due: looks at once instead of at the next tick. */
  wake(): void
  /** Runs all that is due now, and all that becomes due by it; for tests and drills on a manual clock. */
  drain(): Promise<number>
  /** How its calls to each provider and sink fare. */
  gates(): readonly GateState[]
  /** How many operations it may have in flight, and how many it has. */
  slots(): { readonly total: number; readonly used: number }
  /**
   * Stops claiming, gives running steps `graceSeconds` to reach a commit, then gives back the leases
   * of what is not finished.
   */
  stop(graceSeconds?: number): Promise<void>
}

/**
 * Claims due operations and runs their steps. All state is in the journal: a worker may be killed
 * at any await, and another picks the operation up when the lease lapses. A claim may run several
 * steps in a row; each commit is guarded by the fence, so a pre-empted worker changes nothing more.
 */
export function createWorker(open: Lifecycle, options: WorkerOptions): Worker {
  const bulkhead = createBulkhead(open, options.concurrency, options.watch)
  const { life } = bulkhead
  const endings = createEndings(life, options.watch)
  const abort = new AbortController()
  const running = new Set<Promise<void>>()
  const othersMax = Math.ceil((options.concurrency * 3) / 4)
  let others = 0
  /** When work was last looked for past a crowd. */
  let passedAt = -Infinity
  let stopped = false
  let woken = false
  let wakeUp: (() => void) | null = null
  const idleSecondsMax = options.pollSeconds ?? pollSeconds
  let loop: Promise<void> | null = null

  /** An operation that waits for its turn at a provider takes up no part of the worker. */
  const busy = () => {
    const waiting = bulkhead.waiting()
    return {
      all: running.size - waiting.urgent - waiting.others,
      others: others - waiting.others,
    }
  }

  const claimSome = async (): Promise<number> => {
    const { all, others: minting } = busy()
    const free = options.concurrency - all
    if (free <= 0) return 0
    const crowded = bulkhead.crowded()
    if (crowded.length > 0) {
      if (life.clock.monotonic() - passedAt < passingMs) return 0
      passedAt = life.clock.monotonic()
    }
    const claimed = await life.store.claim(
      options.name,
      life.clock.now(),
      leaseSeconds,
      free,
      Math.max(0, othersMax - minting),
      crowded,
    )
    for (const operation of claimed) {
      const weight = urgentKinds.includes(operation.kind) ? 0 : 1
      others += weight
      const run: Promise<void> = runOperation(
        life,
        operation,
        { ...options, endings },
        abort.signal,
      ).finally(() => {
        running.delete(run)
        others -= weight
        wake()
      })
      running.add(run)
    }
    return claimed.length
  }

  const wake = (): void => {
    woken = true
    wakeUp?.()
  }

  /** Sleeps until something is due, or a wake; a wake that came since the last claim counts too. */
  const idle = async (): Promise<void> => {
    const isFull = busy().all >= options.concurrency
    const next = isFull ? null : await life.store.read.nextRunAt()
    if (woken) return
    const dueIn = next === null ? idleSecondsMax : secondsBetween(life.clock.now(), next)
    // At least a few milliseconds: something due that cannot be claimed (its account is busy, the
    // slots of its sort are taken) must not spin.
    const isCrowded = bulkhead.crowded().length > 0
    const leastMs = isCrowded ? passingMs : busy().others < othersMax ? 5 : 50
    const ms = Math.max(leastMs, Math.min(dueIn, idleSecondsMax) * 1_000)
    await new Promise<void>((resolve) => {
      const cancel = life.clock.after(ms, resolve)
      wakeUp = () => {
        cancel()
        resolve()
      }
    })
    wakeUp = null
  }

  const forever = async (): Promise<void> => {
    let pauseMs = 0
    let told = ''
    while (!stopped) {
      try {
        woken = false
        if ((await claimSome()) === 0) await idle()
        if (pauseMs > 0) options.log({ ...claiming, outcome: 'recovered', error: null })
        pauseMs = 0
        told = ''
      } catch (error) {
        if (stopped) return
        pauseMs = Math.min(Math.max(claimPauseMs, pauseMs * 2), longestClaimPauseMs)
        // One line for one trouble, however long it lasts.
        if (told !== String(error)) options.log({ ...claiming, outcome: 'error', error })
        told = String(error)
        await pause(life.clock, pauseMs)
      }
    }
  }

  /** What is not finished is anybody's at once, instead of when the lease lapses, a minute later. */
  const giveBack = async (): Promise<void> => {
    try {
      await open.store.releaseLeases(options.name, open.clock.now())
      open.store.announce('work')
    } catch (error) {
      options.log({ ...claiming, step: 'release', outcome: 'error', error })
    }
  }

  return {
    gates: () => bulkhead.states(),
    start() {
      loop ??= forever()
    },
    wake,
    async drain() {
      let total = 0
      for (;;) {
        const claimed = await claimSome()
        total += claimed
        await Promise.all(running)
        if (claimed === 0) return total
      }
    },
    slots: () => ({ total: options.concurrency, used: running.size }),
    async stop(graceSeconds = 10) {
      stopped = true
      wake()
      await Promise.race([Promise.all(running), pause(life.clock, graceSeconds * 1_000)])
      abort.abort()
      await Promise.all(running)
      await loop
      await giveBack()
    },
  }
}

function pause(clock: Clock, milliseconds: number): Promise<void> {
  return new Promise((resolve) => clock.after(milliseconds, resolve))
}
