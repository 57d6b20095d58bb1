import type { Clock } from '../../domain/time.ts'

/** What GitHub counts besides requests per hour. */
export interface SecondaryLimits {
  readonly creationsPerMinute: number
  readonly creationsPerHour: number
  /** A read costs 1 point, anything else 5. */
  readonly pointsPerMinute: number
}

const githubs: SecondaryLimits = {
  creationsPerMinute: 80,
  creationsPerHour: 500,
  pointsPerMinute: 900,
}

interface Event {
  readonly at: number
  readonly points: number
  readonly creates: boolean
}

/** GitHub's secondary limits over sliding windows. There is no endpoint that tells what is left. */
export class SecondaryCounter {
  readonly #clock: Clock
  readonly #limits: SecondaryLimits
  #events: Event[] = []

  constructor(clock: Clock, limits: Partial<SecondaryLimits>) {
    this.#clock = clock
    this.#limits = { ...githubs, ...limits }
  }

  /** Counts one request. False: it is over a limit, and counted all the same. */
  admit(method: string): boolean {
    const now = this.#clock.monotonic() / 1_000
    this.#events = this.#events.filter((e) => now - e.at < 3_600)
    this.#events.push({ at: now, points: method === 'GET' ? 1 : 5, creates: method === 'POST' })
    const lately = this.#events.filter((e) => now - e.at < 60)
    const created = (events: readonly Event[]) => events.filter((e) => e.creates).length
    const points = lately.reduce((sum, e) => sum + e.points, 0)
    return (
      points <= this.#limits.pointsPerMinute &&
      created(lately) <= this.#limits.creationsPerMinute &&
      created(this.#events) <= this.#limits.creationsPerHour
    )
  }
}
