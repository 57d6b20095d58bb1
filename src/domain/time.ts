import type { Brand } from './ids.ts'

/** RFC 3339 in UTC with milliseconds, always 24 characters, so it sorts as text in every store. */
export type Instant = Brand<string, 'Instant'>
export type Seconds = Brand<number, 'Seconds'>

/** The only source of time in `src/`. */
export interface Clock {
  now(): Instant
  /** Milliseconds that never go back; for durations only. */
  monotonic(): number
  /** Calls `act` once, so many milliseconds from now, unless taken back by what is returned. */
  after(milliseconds: number, act: () => void): () => void
}

/** Aborts after so many milliseconds of `clock`, as `AbortSignal.timeout` does of the machine's. */
export function timeoutOf(clock: Clock, milliseconds: number): AbortSignal {
  const controller = new AbortController()
  clock.after(milliseconds, () => {
    controller.abort(new DOMException('The operation timed out.', 'TimeoutError'))
  })
  return controller.signal
}

export const seconds = (n: number): Seconds => n as Seconds
export const minute: Seconds = seconds(60)
export const hour: Seconds = seconds(3_600)
export const day: Seconds = seconds(86_400)

export function instantOf(milliseconds: number): Instant {
  return new Date(milliseconds).toISOString() as Instant
}

export function addSeconds(at: Instant, by: number): Instant {
  return instantOf(Date.parse(at) + by * 1_000)
}

/** Whole and fractional seconds from `from` to `to`; negative when `to` is earlier. */
export function secondsBetween(from: Instant, to: Instant): number {
  return (Date.parse(to) - Date.parse(from)) / 1_000
}

export function earlier<T extends Instant>(a: T, b: T): T {
  return a <= b ? a : b
}

export function later<T extends Instant>(a: T, b: T): T {
  return a >= b ? a : b
}

const dateTime =
  /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,12}))?(Z|[+-]\d{2}:\d{2})?$/

/**
 * Reads an xsd:dateTime as SCIM clients send it: offsets, up to 12 fraction digits, no zone means UTC.
 * @returns null when the text is not a date that exists (RFC 7643 §2.3.5)
 */
export function parseInstant(text: string): Instant | null {
  const m = dateTime.exec(text)
  if (!m) return null
  const fraction = (m[7] ?? '').padEnd(3, '0').slice(0, 3)
  const base = `${m[1]}-${m[2]}-${m[3]}T${m[4]}:${m[5]}:${m[6]}.${fraction}`
  const utc = Date.parse(`${base}Z`)
  // Date.parse rolls 30 February over to March: a round trip finds dates that do not exist.
  if (Number.isNaN(utc) || new Date(utc).toISOString() !== `${base}Z`) return null
  const ms = Date.parse(`${base}${m[8] ?? 'Z'}`)
  if (Number.isNaN(ms)) return null
  const text24 = new Date(ms).toISOString()
  return text24.length === 24 ? (text24 as Instant) : null
}

const duration = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,3})?)S)?)?$/

/**
 * Reads an ISO 8601 duration of weeks, days, hours, minutes and seconds.
 * Years and months are refused: their length depends on the day one starts counting.
 * @returns null when the text is not such a duration
 */
export function parseDuration(text: string): Seconds | null {
  const m = duration.exec(text)
  if (!m || text === 'P' || text.endsWith('T')) return null
  const [w, d, h, min, s] = m.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
  ]
  return seconds(w * 604_800 + d * 86_400 + h * 3_600 + min * 60 + s)
}

/** The shortest form that `parseDuration` reads back to the same number of seconds. */
export function formatDuration(total: Seconds): string {
  if (total === 0) return 'PT0S'
  const days = Math.floor(total / 86_400)
  const hours = Math.floor((total % 86_400) / 3_600)
  const minutes = Math.floor((total % 3_600) / 60)
  const rest = Number((total % 60).toFixed(3))
  const time = `${hours ? `${hours}H` : ''}${minutes ? `${minutes}M` : ''}${rest ? `${rest}S` : ''}`
  return `P${days ? `${days}D` : ''}${time ? `T${time}` : ''}`
}
