import type { Clock, Instant } from '../../src/domain/time.ts'
import { addSeconds, instantOf } from '../../src/domain/time.ts'

/** Time that moves only when a test says so. */
export class ManualClock implements Clock {
  #now: Instant
  #monotonic = 0
  #timers: { readonly at: number; readonly act: () => void }[] = []

  constructor(start: Instant | string = '2026-11-22T09:00:00.000Z') {
    this.#now = start as Instant
  }

  now(): Instant {
    return this.#now
  }

  monotonic(): number {
    return this.#monotonic
  }

  after(milliseconds: number, act: () => void): () => void {
    const timer = { at: this.#monotonic + milliseconds, act }
    this.#timers.push(timer)
    // What is due at once does not wait for time to move.
    if (milliseconds <= 0) queueMicrotask(() => this.#fire())
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  advance(seconds: number): void {
    this.#now = addSeconds(this.#now, seconds)
    this.#monotonic += seconds * 1_000
    this.#fire()
  }

  #fire(): void {
    const due = this.#timers.filter((timer) => timer.at <= this.#monotonic)
    this.#timers = this.#timers.filter((timer) => timer.at > this.#monotonic)
    for (const { act } of due.sort((a, b) => a.at - b.at)) act()
  }

  set(at: Instant): void {
    this.#now = instantOf(Date.parse(at))
  }
}
