import type { Clock } from '../../src/domain/time.ts'
import { seconds } from '../../src/domain/time.ts'
import { ProviderError } from '../../src/provider/contract.ts'

/** What one App may do; the defaults are GitHub's secondary limits (docs.github.com, rate limits). */
export interface BudgetLimits {
  readonly creationsPerMinute: number
  readonly creationsPerHour: number
  /** A read costs 1 point, a write 5. */
  readonly pointsPerMinute: number
  readonly concurrent: number
}

/** What a request costs. `ends`: it revokes, so it is counted and never held back. */
export interface Cost {
  readonly writes: boolean
  readonly creates?: boolean
  readonly ends?: boolean
}

export const limitsByDefault: BudgetLimits = {
  creationsPerMinute: 80,
  creationsPerHour: 500,
  pointsPerMinute: 900,
  concurrent: 100,
}

/**
 * Keeps an App below the limits that GitHub answers with a ban of minutes. Who comes too early is
 * told when to come again and waits in the journal, where a wait costs nothing and survives a
 * restart; the spacing spreads those who wait instead of letting them return together.
 */
export class Budget {
  readonly #clock: Clock
  readonly #limits: BudgetLimits
  readonly #creations: readonly Bucket[]
  readonly #points: Bucket
  #running = 0

  constructor(clock: Clock, limits: Partial<BudgetLimits>) {
    this.#clock = clock
    this.#limits = { ...limitsByDefault, ...limits }
    this.#creations = [
      new Bucket(this.#limits.creationsPerMinute, 60, 1 / 4),
      new Bucket(this.#limits.creationsPerHour, 3_600, 1 / 2),
    ]
    // A listing is a burst of reads by nature.
    this.#points = new Bucket(this.#limits.pointsPerMinute, 60, 1 / 2)
  }

  /**
   * Runs one request within the budget.
   * @param what is asked, for the message
   * @throws ProviderError `throttled`, `notApplied`: nothing was sent
   */
  async run<T>(cost: Cost, what: string, send: () => Promise<T>): Promise<T> {
    const now = this.#clock.monotonic() / 1_000
    const points = cost.writes ? 5 : 1
    const buckets = [
      { bucket: this.#points, cost: points },
      ...(cost.creates ? this.#creations.map((bucket) => ({ bucket, cost: 1 })) : []),
    ]
    if (!cost.ends) {
      const busy = this.#running >= this.#limits.concurrent ? 1 : 0
      const wait = Math.max(busy, ...buckets.map((b) => b.bucket.waitFor(b.cost, now)))
      if (wait > 0) {
        for (const b of buckets) b.bucket.queue(b.cost, now)
        throw new ProviderError('throttled', `${what}: held back by the budget of the App.`, {
          outcome: 'notApplied',
          retryAfter: seconds(Math.ceil(wait)),
        })
      }
    }
    for (const b of buckets) b.bucket.take(b.cost, now)
    this.#running += 1
    try {
      return await send()
    } finally {
      this.#running -= 1
    }
  }
}

/**
 * A part of the limit may come at once and the rest flows in over the period, so that no period of
 * that length, wherever it starts, sees more than the limit.
 */
class Bucket {
  readonly #capacity: number
  readonly #perSecond: number
  #level: number
  /** Asked for and sent away; flows off like the bucket fills. */
  #queued = 0
  #at = 0

  constructor(limit: number, period: number, burst: number) {
    this.#capacity = Math.max(1, limit * burst)
    // A limit of 1 is all burst; it still has to flow in again.
    this.#perSecond = Math.max(limit - this.#capacity, limit * burst) / period
    this.#level = this.#capacity
  }

  /** Seconds until `cost` may be taken; 0 = now. */
  waitFor(cost: number, now: number): number {
    this.#flow(now)
    // More than the bucket ever holds is let through when it is full.
    const missing = Math.min(cost, this.#capacity) - this.#level
    return missing <= 1e-9 ? 0 : (missing + this.#queued) / this.#perSecond
  }

  queue(cost: number, now: number): void {
    this.#flow(now)
    if (cost > this.#level) this.#queued += cost
  }

  take(cost: number, now: number): void {
    this.#flow(now)
    this.#level -= cost
  }

  #flow(now: number): void {
    const flowed = Math.max(0, now - this.#at) * this.#perSecond
    this.#at = now
    this.#level = Math.min(this.#capacity, this.#level + flowed)
    this.#queued = Math.max(0, this.#queued - flowed)
  }
}

const budgets = new WeakMap<Clock, Map<string, Budget>>()

/**
 * The budget of an App, shared by all that speak to GitHub as it in this process.
 * @param app its address and id
 * @param limits count where the App is first named
 */
export function budgetOf(clock: Clock, app: string, limits: Partial<BudgetLimits>): Budget {
  const ofClock = budgets.get(clock) ?? new Map<string, Budget>()
  budgets.set(clock, ofClock)
  const budget = ofClock.get(app) ?? new Budget(clock, limits)
  ofClock.set(app, budget)
  return budget
}
