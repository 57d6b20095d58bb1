import type { Clock } from '../domain/time.ts'

// Fewer would not be over sooner where the machine is busy with something else.
const least = 20
const most = 50
/** Of the writer for one commit, so that a request that comes meanwhile does not notice. */
const goalMs = 6

/**
 * How many items share a commit. Half of what a commit costs is the same however much is in it:
 * pages of indexes and an fsync. So as many as a commit's time allows, on this machine now.
 */
export class Pace {
  readonly #clock: Clock
  #size = 25

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#size
  }

  /** Runs one commit of so many items, and learns from how long it took. */
  async timed<T>(items: number, run: () => Promise<T>): Promise<T> {
    const since = this.#clock.monotonic()
    const result = await run()
    const took = this.#clock.monotonic() - since
    // What is cut off at the end of a batch says nothing about larger ones.
    if (took > goalMs) this.#size = Math.max(least, Math.floor(Math.min(items, this.#size) * 0.8))
    else if (items >= this.#size) this.#size = Math.min(most, this.#size + 2)
    return result
  }
}

const paces = new WeakMap<Clock, Pace>()

/** One for all sweeps of a process. */
export function paceOf(clock: Clock): Pace {
  let pace = paces.get(clock)
  if (pace === undefined) paces.set(clock, (pace = new Pace(clock)))
  return pace
}
