import type { Instant } from '../domain/time.ts'
import { instantOf, parseInstant } from '../domain/time.ts'

/**
 * Times in which nothing planned is done. `every` is a stretch of each week on the clocks of a zone,
 * `once` a stretch of time.
 */
export type FreezeWindow =
  | {
      readonly kind: 'once'
      readonly name: string
      readonly from: Instant
      readonly until: Instant
    }
  | {
      readonly kind: 'every'
      readonly name: string
      /** Minutes since Monday 00:00 on the zone's clocks. */
      readonly from: number
      readonly minutes: number
      readonly zone: string
      /** As the policy says it. */
      readonly text: string
    }

export interface RawWindow {
  readonly name: string
  readonly from?: string
  readonly until?: string
  readonly every?: string
  readonly zone?: string
}

export interface Frozen {
  readonly window: string
  /** When no window holds any more. */
  readonly until: Instant
}

const weekdays = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']
const weekMinutes = 7 * 24 * 60
const stretch = /^(\w+) (\d{1,2}):(\d{2}) - (\w+) (\d{1,2}):(\d{2})$/
const date = /^\d{4}-\d{2}-\d{2}$/

/** The JSON Schema of `freeze` in `lifecycle.yaml`; what it cannot say, `readWindow` refuses. */
export const freezeSchema = {
  type: 'array',
  maxItems: 50,
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['name'],
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 100 },
      from: { type: 'string' },
      until: { type: 'string' },
      every: { type: 'string' },
      zone: { type: 'string' },
    },
  },
}

/** @returns the window, or what is wrong with which of its fields */
export function readWindow(
  raw: RawWindow,
): FreezeWindow | { readonly field: keyof RawWindow; readonly problem: string } {
  const { name, from, until, every, zone } = raw
  const wrong = (field: keyof RawWindow, problem: string) => ({ field, problem })
  if (zone !== undefined && !isZone(zone)) {
    return wrong('zone', `"${zone}" is no time zone known here; write it as Europe/Berlin or UTC.`)
  }
  if (every !== undefined) {
    if (from !== undefined || until !== undefined) {
      return wrong('every', 'stands alone: from and until are for a window that comes once.')
    }
    if (zone === undefined) return wrong('every', 'needs a zone, such as Europe/Berlin.')
    return readStretch(name, every, zone) ?? wrong('every', stretchHint(every))
  }
  if (from === undefined || until === undefined) {
    const missing = from === undefined ? 'from' : 'until'
    return wrong('name', `needs ${missing}, or every and zone.`)
  }
  const [begin, end] = [from, until].map((text) => readMoment(text, zone ?? 'UTC'))
  const hint = 'must be a date such as 2026-12-20 or a moment such as 2026-12-20T18:00:00Z.'
  if (!begin) return wrong('from', hint)
  if (!end) return wrong('until', hint)
  if (end <= begin) return wrong('until', `lies before from (${from}): the window would never be.`)
  return { kind: 'once', name, from: begin, until: end }
}

function readStretch(name: string, text: string, zone: string): FreezeWindow | null {
  const m = stretch.exec(text)
  if (!m) return null
  const at = (i: number): number | null => {
    const weekday = weekdays.indexOf(m[i]!)
    const [hours, minutes] = [Number(m[i + 1]), Number(m[i + 2])]
    const isTime = weekday >= 0 && hours <= 23 && minutes <= 59
    return isTime ? (weekday * 24 + hours) * 60 + minutes : null
  }
  const [from, until] = [at(1), at(4)]
  if (from === null || until === null || from === until) return null
  return { kind: 'every', name, from, minutes: modulo(until - from), zone, text }
}

function stretchHint(text: string): string {
  const unknown = text.match(/[A-Za-z]+/g)?.find((word) => !weekdays.includes(word))
  const said = unknown === undefined ? '' : `"${unknown}" is no weekday (${weekdays.join(', ')}); `
  return `${said}must be a part of the week such as "Fri 16:00 - Mon 06:00", with an end other than its start.`
}

/** A date is midnight on the zone's clocks. */
function readMoment(text: string, zone: string): Instant | null {
  if (!date.test(text)) return /(Z|[+-]\d{2}:\d{2})$/.test(text) ? parseInstant(text) : null
  const utc = parseInstant(`${text}T00:00:00Z`)
  if (utc === null) return null
  const wanted = Date.parse(utc)
  return instantOf(wanted - offsetAt(zone, wanted - offsetAt(zone, wanted)))
}

/** Whether all of these together leave no moment of any week. */
export function neverOpens(windows: readonly FreezeWindow[]): boolean {
  const weekly = windows.filter((w) => w.kind === 'every')
  const minutes = weekly.reduce((sum, w) => sum + w.minutes, 0)
  if (minutes < weekMinutes) return false
  // Zones drift against each other with summer time, so that two weeks of a year are looked at.
  return ['2027-01-04', '2027-07-05'].some((monday) => {
    const start = Date.parse(`${monday}T00:00:00Z`)
    for (let minute = 0; minute < weekMinutes; minute += 15) {
      const at = instantOf(start + minute * 60_000)
      if (!weekly.some((w) => holds(w, at))) return false
    }
    return true
  })
}

/** Windows that follow or overlap each other count as one, named after the first. */
export function frozenAt(windows: readonly FreezeWindow[], now: Instant): Frozen | null {
  let first: string | null = null
  let at = now
  // Bounded, for a policy with a thousand windows in a row is not worth a stuck process.
  for (let i = 0; i < 200; i++) {
    const window = windows.find((w) => holds(w, at))
    if (!window) break
    at = window.kind === 'once' ? window.until : endOf(window, at)
    first ??= window.name
  }
  return first === null ? null : { window: first, until: at }
}

/** Seconds over which what waited for a window is done. */
const spreadSeconds = 3_600

/**
 * The same for one subject: each gets a share of the hour after the window, always the same one, so
 * that what waited does not come all at once.
 */
export function frozenFor(
  windows: readonly FreezeWindow[],
  subject: string,
  now: Instant,
): Frozen | null {
  if (windows.length === 0) return null
  const share = shareOf(subject) * 1_000
  const before = instantOf(Date.parse(now) - share)
  const frozen = frozenAt(windows, now) ?? frozenAt(windows, before)
  return frozen && { ...frozen, until: instantOf(Date.parse(frozen.until) + share) }
}

function shareOf(subject: string): number {
  let hash = 0x811c9dc5
  for (const char of subject) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193)
  return (hash >>> 0) % spreadSeconds
}

function holds(window: FreezeWindow, at: Instant): boolean {
  if (window.kind === 'once') return window.from <= at && at < window.until
  return modulo(minuteOfWeek(window.zone, Date.parse(at)) - window.from) < window.minutes
}

/** On the zone's clocks, which may be put forward or back before the window's end. */
function endOf(window: FreezeWindow & { readonly kind: 'every' }, at: Instant): Instant {
  const now = Math.floor(Date.parse(at) / 60_000) * 60_000
  const left = window.minutes - modulo(minuteOfWeek(window.zone, now) - window.from)
  const straight = now + left * 60_000
  const shift = offsetAt(window.zone, now) - offsetAt(window.zone, straight)
  let end = straight + shift
  // The hour that is left out in spring, or comes twice in autumn.
  while (holds(window, instantOf(end))) end += 60_000
  return instantOf(Math.max(end, now + 60_000))
}

function modulo(minutes: number): number {
  return ((minutes % weekMinutes) + weekMinutes) % weekMinutes
}

const formats = new Map<string, Intl.DateTimeFormat>()

/** Making one takes some 30 µs, asking it one. @throws RangeError for an unknown zone */
function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone)
  if (known) return known
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    weekday: 'short',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  })
  formats.set(zone, made)
  return made
}

function isZone(zone: string): boolean {
  try {
    // An offset such as +02:00 is a zone to Intl, but none that knows summer time.
    return /^[A-Za-z]/.test(zone) && formatOf(zone) !== null
  } catch {
    return false
  }
}

function partsAt(zone: string, at: number): Readonly<Record<string, string>> {
  const parts = formatOf(zone).formatToParts(at)
  return Object.fromEntries(parts.map(({ type, value }) => [type, value]))
}

function minuteOfWeek(zone: string, at: number): number {
  const { weekday, hour, minute } = partsAt(zone, at)
  return (weekdays.indexOf(weekday!) * 24 + Number(hour)) * 60 + Number(minute)
}

/** Milliseconds that the zone's clocks are ahead of UTC. */
function offsetAt(zone: string, at: number): number {
  const { year, month, day, hour, minute, second } = partsAt(zone, at)
  const wall = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return wall - Math.floor(at / 1_000) * 1_000
}
