import type { Instant } from '../domain/time.ts'
import type { SweepName } from '../lifecycle/engine.ts'

export interface SweepEvent {
  readonly sweep: SweepName
  readonly slot: Instant
  readonly outcome: 'finished' | 'skipped' | 'failed' | 'overlap'
  /** Whether everything was looked at, or only what changed. */
  readonly full: boolean
  readonly found: number
  readonly started: number
  readonly failed: number
  /** Failed before, and not tried again yet. */
  readonly deferred: number
  /** From the start of its thread to its end. */
  readonly seconds: number
  readonly message: string | null
}

/** What a sweep has done since this process started; totals but for the `last…`. */
export interface SweepStats {
  readonly lastSlot: Instant | null
  readonly lastOutcome: SweepEvent['outcome'] | null
  readonly lastFinishedAt: Instant | null
  readonly lastSeconds: number
  readonly finished: number
  readonly failures: number
  /** The slot was another replica's. */
  readonly skips: number
  /** A slot came while the run before it was not over. */
  readonly overlaps: number
  readonly found: number
  readonly started: number
  readonly failed: number
  readonly seconds: number
  /** Items that failed and wait to be tried again, now. */
  readonly setbacks: number
}

export const noStats: SweepStats = {
  lastSlot: null,
  lastOutcome: null,
  lastFinishedAt: null,
  lastSeconds: 0,
  finished: 0,
  failures: 0,
  skips: 0,
  overlaps: 0,
  found: 0,
  started: 0,
  failed: 0,
  seconds: 0,
  setbacks: 0,
}

export function counted(
  stats: SweepStats,
  event: SweepEvent,
  at: Instant,
  setbacks: number,
): SweepStats {
  const ran = event.outcome === 'finished' || event.outcome === 'failed'
  return {
    lastSlot: event.slot,
    lastOutcome: event.outcome,
    lastFinishedAt: event.outcome === 'finished' ? at : stats.lastFinishedAt,
    lastSeconds: ran ? event.seconds : stats.lastSeconds,
    finished: stats.finished + Number(event.outcome === 'finished'),
    failures: stats.failures + Number(event.outcome === 'failed'),
    skips: stats.skips + Number(event.outcome === 'skipped'),
    overlaps: stats.overlaps + Number(event.outcome === 'overlap'),
    found: stats.found + event.found,
    started: stats.started + event.started,
    failed: stats.failed + event.failed,
    seconds: stats.seconds + (ran ? event.seconds : 0),
    setbacks,
  }
}
