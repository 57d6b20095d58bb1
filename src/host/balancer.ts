import type { Clock, Seconds } from '../domain/time.ts'

/** Who asked `/readyz` within this time goes by its answer; balancers ask every 1 to 30 s. */
const recentMs = 60_000
/** Time for a balancer that asks every second to hear `503` and to stop sending. */
const usualSeconds = 2

/** Whether somebody sends requests by what `/readyz` says, and the time to let them hear the end of it. */
export interface Balancer {
  asked(): void
  /**
   * Resolves when whoever asks has had time to hear that this process is no longer ready.
   * @param configured seconds to wait in any case; null: 2 s when somebody asked within the last
   *   minute, else none, so that Ctrl-C in a terminal takes no longer than it did
   */
  drained(configured: Seconds | null): Promise<void>
}

/** @param clock its `monotonic` time counts */
export function watchBalancer(clock: Pick<Clock, 'monotonic' | 'after'>): Balancer {
  let askedAt = -Infinity
  return {
    asked() {
      askedAt = clock.monotonic()
    },
    async drained(configured) {
      const isAsked = clock.monotonic() - askedAt <= recentMs
      const wait = configured ?? (isAsked ? usualSeconds : 0)
      if (wait > 0) await new Promise<void>((resolve) => clock.after(wait * 1_000, resolve))
    },
  }
}
