import type { Clock, Instant } from '../../src/domain/time.ts'
import { instantOf } from '../../src/domain/time.ts'

/** When every simulated year begins; before it lie the weeks in which the company is set up. */
export const yearStart = Date.parse('2027-01-01T00:00:00.000Z')

export const second = 1_000
export const minute = 60 * second
export const hour = 60 * minute
export const day = 24 * hour
export const week = 7 * day

interface Event {
  readonly at: number
  /** Of two at the same instant, the one that was asked for first. */
  readonly order: number
  readonly act: () => Promise<void> | void
}

/**
 * Virtual time that jumps from event to event. Timers of the engine are not kept: what waits longer
 * than a call is a row with `runAt`, and no call of the sandbox hangs.
 */
export class YearClock implements Clock {
  readonly #heap: Event[] = []
  readonly #began: number
  #now: number
  #order = 0
  #override: number | null = null

  constructor(start: number) {
    this.#now = start
    this.#began = start
  }

  /** Milliseconds since 1970. */
  get ms(): number {
    return this.#override ?? this.#now
  }

  now(): Instant {
    return instantOf(this.ms)
  }

  monotonic(): number {
    return this.#now - this.#began
  }

  after(): () => void {
    return () => undefined
  }

  /** Runs `act` as if it were then: the calls of consumers are looked at after they were made. */
  as<T>(at: number, act: () => T): T {
    const before = this.#override
    this.#override = at
    try {
      return act()
    } finally {
      this.#override = before
    }
  }

  at(when: number, act: () => Promise<void> | void): void {
    const { length } = this.#heap
    this.#heap.push({ at: Math.max(when, this.#now), order: this.#order++, act })
    this.#up(length)
  }

  in(milliseconds: number, act: () => Promise<void> | void): void {
    this.at(this.#now + milliseconds, act)
  }

  /** Every so often from `first` on, up to `until`. */
  every(first: number, milliseconds: number, until: number, act: () => Promise<void> | void): void {
    if (first >= until) return
    this.at(first, async () => {
      this.every(first + milliseconds, milliseconds, until, act)
      await act()
    })
  }

  get next(): number | null {
    return this.#heap[0]?.at ?? null
  }

  /** Moves on; never back. */
  reach(at: number): void {
    this.#now = Math.max(this.#now, at)
  }

  /** Takes the first event that is due by now. */
  take(): Event['act'] | null {
    const [first] = this.#heap
    if (!first || first.at > this.#now) return null
    const last = this.#heap.pop()!
    if (this.#heap.length > 0) {
      this.#heap[0] = last
      this.#down(0)
    }
    return first.act
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a]!, this.#heap[b]!]
    return x.at < y.at || (x.at === y.at && x.order < y.order)
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#heap[a]!, this.#heap[b]!]
    this.#heap[a] = y
    this.#heap[b] = x
  }

  #up(from: number): void {
    for (let i = from; i > 0;) {
      const parent = (i - 1) >> 1
      if (!this.#isBefore(i, parent)) return
      this.#swap(i, parent)
      i = parent
    }
  }

  #down(from: number): void {
    for (let i = from; ;) {
      let child = i * 2 + 1
      if (child >= this.#heap.length) return
      if (child + 1 < this.#heap.length && this.#isBefore(child + 1, child)) child += 1
      if (!this.#isBefore(child, i)) return
      this.#swap(i, child)
      i = child
    }
  }
}
