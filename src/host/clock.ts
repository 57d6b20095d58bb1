import type { Clock } from '../domain/time.ts'
import { instantOf } from '../domain/time.ts'

let lastMs = 0
let last = instantOf(0)

/** The machine's time; everything else is handed a clock. */
export const systemClock: Clock = {
  now() {
    const ms = Date.now()
    // A busy server asks several times in each millisecond.
    if (ms !== lastMs) {
      lastMs = ms
      last = instantOf(ms)
    }
    return last
  },
  monotonic: () => performance.now(),
  after(milliseconds, act) {
    // Nothing that waits keeps a process alive that has nothing else to do.
    const timer = setTimeout(act, milliseconds).unref()
    return () => clearTimeout(timer)
  },
}
