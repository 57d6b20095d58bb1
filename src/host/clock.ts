import type { Clock } from '../domain/time.ts'
import { instantOf } from '../domain/time.ts'

/** The machine's time; everything else is handed a clock. */
export const systemClock: Clock = {
  now: () => instantOf(Date.now()),
  monotonic: () => performance.now(),
  after(milliseconds, act) {
    // Nothing that waits keeps a process alive that has nothing else to do.
    const timer = setTimeout(act, milliseconds).unref()
    return () => clearTimeout(timer)
  },
}
