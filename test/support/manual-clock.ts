import type { Clock, Instant } from '../../src/domain/time.ts'
import { addSeconds, instantOf } from '../../src/domain/time.ts'

/** Time that moves only when a test says so. */
export class ManualClock implements Clock {
  #now: Instant
  #monotonic = 0

  constructor(start: Instant | string = '2026-11-22T09:00:00.000Z') {
    this.#now = start as Instant
  }

  now(): Instant {
    return this.#now
  }

  monotonic(): number {
    return this.#monotonic
  }

  advance(seconds: number): void {
    this.#now = addSeconds(this.#now, seconds)
    this.#monotonic += seconds * 1_000
  }

  set(at: Instant): void {
    this.#now = instantOf(Date.parse(at))
  }
}
