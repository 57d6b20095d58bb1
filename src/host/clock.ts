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

/** Asked so often, the two clocks drift apart by a few milliseconds at most in between. */
const measureEverySeconds = 30
/** The offset is known to half a round trip: a slow answer says less than what is known already. */
const slowMs = 250
/** Steps back up to this are waited out; a larger one is a clock that was set, and is for the guard. */
const heldMs = 2_000
const tries = 3

export interface InstallationClock {
  readonly clock: Clock
  /** By how much the machine's clock is behind the installation's, in milliseconds. */
  offset(): number
  /** Asks the source now. @returns whether it answered */
  measure(): Promise<boolean>
  /** Goes on asking; returns the end of it. */
  start(): () => void
}

/**
 * One time for all processes of an installation: that of the database they share. Leases, slots and
 * end dates are written by one machine and judged by another, and a clock two minutes fast would
 * take over work whose lease of a minute has just begun. It never goes back by a correction.
 * @param source milliseconds since 1970, or null where there is only the machine's own clock
 */
export function createInstallationClock(
  machine: Clock,
  source: () => Promise<number | null>,
): InstallationClock {
  let offset = 0
  let isMeasured = false
  let latest = -Infinity
  let latestText = machine.now()
  let isRunning = false
  let cancel: () => void = () => undefined

  const nowMs = (): number => {
    const ms = Math.floor(Date.parse(machine.now()) + offset)
    if (ms < latest && latest - ms <= heldMs) return latest
    return ms
  }

  const once = async (): Promise<{ readonly offset: number; readonly trip: number } | null> => {
    const before = machine.monotonic()
    const at = Date.parse(machine.now())
    const found = await source()
    if (found === null) return null
    const trip = machine.monotonic() - before
    return { offset: found - (at + trip / 2), trip }
  }

  const measure = async (): Promise<boolean> => {
    const found = []
    for (let i = 0; i < tries; i++) {
      const one = await once().catch(() => null)
      if (one === null) break
      found.push(one)
    }
    const [best] = found.toSorted((a, b) => a.trip - b.trip)
    if (best === undefined) return false
    const doubt = isMeasured && best.trip > slowMs ? best.trip / 2 : 0
    // What is known already, unless even a slow answer proves it wrong: a clock was set.
    offset =
      doubt === 0
        ? best.offset
        : Math.min(Math.max(offset, best.offset - doubt), best.offset + doubt)
    isMeasured = true
    return true
  }

  const again = (): void => {
    cancel = machine.after(measureEverySeconds * 1_000, () => {
      void measure().then(() => {
        if (isRunning) again()
      })
    })
  }

  return {
    clock: {
      now() {
        const ms = nowMs()
        // A busy server asks several times in each millisecond.
        if (ms !== latest) {
          latest = ms
          latestText = instantOf(ms)
        }
        return latestText
      },
      monotonic: () => machine.monotonic(),
      after: (milliseconds, act) => machine.after(milliseconds, act),
    },
    offset: () => offset,
    measure,
    start() {
      isRunning = true
      again()
      return () => {
        isRunning = false
        cancel()
      }
    },
  }
}
