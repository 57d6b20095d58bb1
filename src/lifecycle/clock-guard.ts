import type { JsonObject } from '../domain/json.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, instantOf } from '../domain/time.ts'
import type { BrakeKey } from './brakes.ts'
import { engageBrake, engagedBrakes, isSame, releaseBrake } from './brakes.ts'
import type { Lifecycle } from './context.ts'
import { leaseSeconds } from './run.ts'

/** What time may be off by before nothing is derived from it: DST and leap seconds are far below. */
const toleranceMs = 5 * 60_000
/** So long all has to agree again before the brake is released by itself. */
const steadyMs = 60_000
/** A brake that another process engaged is renewed by it; so long unrenewed, that process is gone. */
const abandonedMs = 10 * 60_000
const renewMs = 30_000
const tickMs = 10_000
/** Corrections add up over weeks: what counts is how far the clock moved within this span. */
const rebaseMs = 3_600_000
/** Dates of other providers that are older than this, next to the newest one, are not asked. */
const dateSpanMs = 10 * 60_000
const highWaterEveryMs = 60_000
/** What revokes waits this long at most by itself; `Retry-After` may ask for more, and is asked again. */
const longestWaitSeconds = 300
const highWaterKey = 'clock.highWater'

export const clockBrake: BrakeKey = { tenant: null, name: 'clock', subject: '' }

export interface ClockGuard {
  /**
   * Looks at the clock now, and engages or releases the brake. Without I/O while all is well.
   * @returns false when what time says must not be acted on
   */
  check(): Promise<boolean>
  /** The `Date` header of an answer, as a provider's client saw it just now. */
  sawDate(source: string, date: Instant): void
  /** Reads how far the time had come when Custody last ran, and looks from now on; returns the end. */
  start(): Promise<() => void>
}

/**
 * Watches the wall clock against the monotonic one, against the `Date` of whoever answers us, and
 * against the latest time an earlier run has seen. A jump stops what time alone asks for: expiry,
 * rotation, deletion, the end of overlaps and offers. Sweeps are queries, so that nothing that falls
 * due meanwhile is missed afterwards. A gap forward across a restart is a machine that was off.
 */
export function createClockGuard(
  life: Pick<Lifecycle, 'store' | 'clock' | 'ids'>,
  options: { readonly worker: string; readonly onError?: (error: unknown) => void },
): ClockGuard {
  const { clock, store } = life
  const dates = new Map<string, { readonly date: number; readonly seenAt: number }>()
  const wall = () => Date.parse(clock.now())
  const offset = () => wall() - clock.monotonic()
  let base = { offset: offset(), at: clock.monotonic() }
  let highWater: number | null = null
  let wasSetBack = false
  let savedAt = clock.monotonic() - highWaterEveryMs
  /** What an operator has accepted by releasing the brake while a provider still said otherwise. */
  const accepted = new Map<string, number>()
  /** Monotonic instants; null = this process has not engaged it. */
  let engaged: { readonly at: number; renewedAt: number; steadySince: number | null } | null = null
  let foreign: { readonly text: string; readonly since: number } | null = null
  let busy: Promise<boolean> | null = null

  /** By how much each provider is ahead of us now: its last date, aged by the monotonic clock. */
  function skews(): readonly { readonly source: string; readonly ms: number; seenAt: number }[] {
    const newest = Math.max(...[...dates.values()].map((d) => d.seenAt))
    return [...dates]
      .filter(([, { seenAt }]) => newest - seenAt <= dateSpanMs)
      .map(([source, { date, seenAt }]) => ({
        source,
        seenAt,
        ms: date + (clock.monotonic() - seenAt) - wall(),
      }))
  }

  /** null = time can be believed; otherwise why not. */
  function trouble(): JsonObject | null {
    const all = skews()
    const off = all.find(({ source, ms }) => {
      const least = Math.min(Math.abs(ms), Math.abs(ms - (accepted.get(source) ?? 0)))
      return least > toleranceMs
    })
    if (off) return { reason: 'date', source: off.source, skewSeconds: Math.round(off.ms / 1_000) }
    // Somebody else confirms the new time: then it was the old one, or a pause, that was wrong.
    const since = engaged?.at ?? null
    if (since !== null && all.some(({ seenAt }) => seenAt > since)) return null
    // Set right after it was set back: what was measured before it was wrong has no say.
    if (wasSetBack && highWater !== null && wall() >= highWater - toleranceMs) {
      base = { offset: offset(), at: clock.monotonic() }
      wasSetBack = false
      highWater = null
    }
    const jump = wasSetBack ? 0 : offset() - base.offset
    if (Math.abs(jump) > toleranceMs) {
      return { reason: 'jump', jumpSeconds: Math.round(jump / 1_000) }
    }
    if (highWater !== null && wall() < highWater - toleranceMs) {
      wasSetBack = true
      return { reason: 'setBack', highWater: instantOf(highWater) }
    }
    return null
  }

  function believe(): void {
    base = { offset: offset(), at: clock.monotonic() }
    highWater = null
    wasSetBack = false
    engaged = null
  }

  async function engage(why: JsonObject): Promise<void> {
    const now = clock.monotonic()
    const facts = { ...why, worker: options.worker, wall: clock.now(), monotonic: Math.round(now) }
    await engageBrake(life, clockBrake, facts)
    if (engaged === null) await pullUrgent()
    engaged = { at: engaged?.at ?? now, renewedAt: now, steadySince: null }
  }

  /** Under a clock that went back, a revocation of a moment ago would be due tomorrow. */
  async function pullUrgent(): Promise<void> {
    const at = clock.now()
    const until = addSeconds(at, leaseSeconds)
    const beyond = addSeconds(at, longestWaitSeconds)
    await store.commit([{ type: 'urgentDue', at, until, beyond }])
  }

  async function look(): Promise<boolean> {
    const why = trouble()
    if (engaged === null) {
      if (why === null) return true
      await engage(why)
      return false
    }
    const isOn = (await engagedBrakes(life)).some((b) => isSame(b, clockBrake))
    const now = clock.monotonic()
    if (!isOn) {
      // An operator says that the time is right as it is.
      for (const { source, ms } of skews()) accepted.set(source, ms)
      believe()
      return true
    }
    if (why !== null) {
      engaged.steadySince = null
      if (now - engaged.renewedAt >= renewMs) await engage(why)
      return false
    }
    engaged.steadySince ??= now
    if (now - engaged.steadySince < steadyMs) return false
    await releaseBrake(life, clockBrake, { reason: 'the clocks agree again' })
    believe()
    return true
  }

  /** Of a process that is gone, or of an earlier life of this one. */
  async function lookAtOthers(): Promise<void> {
    if (engaged !== null) return
    const brake = (await engagedBrakes(life)).find((b) => isSame(b, clockBrake))
    if (!brake) {
      foreign = null
      return
    }
    const text = JSON.stringify(brake.facts)
    const now = clock.monotonic()
    if (foreign?.text !== text) foreign = { text, since: now }
    if (now - foreign.since < abandonedMs) return
    foreign = null
    await releaseBrake(life, clockBrake, { reason: 'the process that engaged it is gone' })
  }

  async function keepHighWater(): Promise<void> {
    const now = clock.monotonic()
    if (engaged !== null || now - savedAt < highWaterEveryMs) return
    savedAt = now
    const known = await store.read.meta(highWaterKey)
    const at = clock.now()
    if (known !== null && known >= at) return
    await store.commit([{ type: 'meta', key: highWaterKey, value: at }])
  }

  const check = (): Promise<boolean> => {
    const isWell = engaged === null && trouble() === null
    if (isWell && clock.monotonic() - base.at > rebaseMs) {
      base = { offset: offset(), at: clock.monotonic() }
    }
    if (isWell) return Promise.resolve(true)
    busy ??= look().finally(() => {
      busy = null
    })
    return busy
  }

  return {
    check,
    sawDate(source, date) {
      const at = Date.parse(date)
      if (!Number.isNaN(at)) dates.set(source, { date: at, seenAt: clock.monotonic() })
    },
    async start() {
      const known = await store.read.meta(highWaterKey)
      highWater = known === null ? null : Date.parse(known)
      let cancel = (): void => undefined
      let isOver = false
      const tick = async (): Promise<void> => {
        try {
          if (await check()) await keepHighWater()
          await lookAtOthers()
        } catch (error) {
          options.onError?.(error)
        }
        if (!isOver) cancel = clock.after(tickMs, () => void tick())
      }
      await tick()
      return () => {
        isOver = true
        cancel()
      }
    },
  }
}
