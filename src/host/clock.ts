import type { Clock } from '../domain/time.ts'
import { instantOf } from '../domain/time.ts'

/** The machine's time; everything else is handed a clock. */
export const systemClock: Clock = {
  now: () => instantOf(Date.now()),
  monotonic: () => performance.now(),
}
