import type { Clock, Instant } from '../../src/domain/time.ts'
import { instantOf } from '../../src/domain/time.ts'
import { answered } from './in-flight.ts'

const start = Date.parse('2026-11-22T09:00:00.000Z')
/**
 * Turns of the event loop after which nothing can still be going on by itself: a commit waits one
 * for its group, an SDK call with its body takes three. The replay test would notice a higher need.
 */
const quietTurns = 4
/** The first calls of a process load modules, which takes turns and real time. */
const quietTurnsCold = 300
let turns = quietTurnsCold

/** From here on everything that is loaded on first use is loaded. */
export function warmedUp(): void {
  turns = quietTurns
}

interface Event {
  readonly at: number
  /** Decides between events of one instant; drawn, so that every order comes up with some seed. */
  readonly tie: number
  readonly act: () => void
  cancelled: boolean
}

/** The one source of chance of a run: the same seed gives the same run (mulberry32). */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  happens(probability: number): boolean {
    return this.next() < probability
  }

  oneOf<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }
}

/**
 * Virtual time and the order of everything: whoever waits, for a timer or an answer, stands in one
 * queue, and goes on alone. Between two events all promises that can settle have settled.
 */
export class Scheduler implements Clock {
  readonly chance: Chance
  readonly #queue: Event[] = []
  #now = start
  #events = 0

  constructor(seed: number) {
    this.chance = new Chance(seed)
  }

  /** Events so far; a fingerprint of the run together with the time. */
  get events(): number {
    return this.#events
  }

  now(): Instant {
    return instantOf(this.#now)
  }

  monotonic(): number {
    return this.#now - start
  }

  after(milliseconds: number, act: () => void): () => void {
    const at = this.#now + Math.max(0, milliseconds)
    const event: Event = { at, tie: this.chance.next(), act, cancelled: false }
    insert(this.#queue, event)
    return () => {
      event.cancelled = true
    }
  }

  /**
   * Runs what happens in the next so many seconds.
   * @param each after every single event
   */
  async run(seconds: number, each: () => Promise<void> | void = () => undefined): Promise<void> {
    const until = this.#now + seconds * 1_000
    await quiet()
    for (;;) {
      const next = this.#queue[0]
      if (next === undefined || next.at > until) break
      removeFirst(this.#queue)
      if (next.cancelled) continue
      this.#now = Math.max(this.#now, next.at)
      this.#events += 1
      next.act()
      await quiet()
      await each()
    }
    this.#now = until
  }
}

async function quiet(): Promise<void> {
  do {
    for (let turn = 0; turn < turns; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  } while (await answered())
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.tie < b.tie)

function insert(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!isBefore(event, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = event
}

function removeFirst(heap: Event[]): void {
  const last = heap.pop()!
  if (heap.length === 0) return
  let at = 0
  for (;;) {
    let child = at * 2 + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1
    if (!isBefore(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
}
