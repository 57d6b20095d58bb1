const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const dateOnly = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' })
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'long' })
const numbers = new Intl.NumberFormat()

/** @type {readonly [Intl.RelativeTimeFormatUnit, number][]} */
const units = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]

/** "in 3 days", "5 minutes ago". @param {string} instant @param {number} [now] */
export function ago(instant, now = Date.now()) {
  const seconds = (Date.parse(instant) - now) / 1_000
  for (const [unit, size] of units) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit)
  }
  return Math.abs(seconds) < 5 ? 'just now' : relative.format(Math.round(seconds), 'second')
}

/** In the reader's own zone, with seconds. @param {string} instant */
export function fullTime(instant) {
  return dateTime.format(new Date(instant))
}

const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' })

/** A date alone is the same day everywhere. @param {string} instant */
export function day(instant) {
  if (instant.length === 10) return calendar.format(new Date(instant))
  return dateOnly.format(new Date(instant))
}

/** @param {number} n */
export function number(n) {
  return numbers.format(n)
}

/** "3.2 s", "4 min", "2 h", "12 days". @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) return `${(Math.round(seconds * 10) / 10).toString()} s`
  if (seconds < 90) return `${Math.round(seconds)} s`
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`
  return `${Math.round(seconds / 86_400)} days`
}

/** "1 account", "2 accounts". @param {number} n @param {string} one @param {string} [many] */
export function count(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`
}

// Characters that would reorder or hide the text around them stand as their code point.
const odd =
  // oxlint-disable-next-line no-control-regex -- these are what it looks for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/** What somebody else wrote, with nothing hidden in it. @param {unknown} value */
export function visible(value) {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  return text
    .toWellFormed()
    .replace(odd, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** camelCase words as people write them: `needsOperator` → `needs operator`. @param {string} name */
export function words(name) {
  return name
    .replace(/([a-z])([A-Z])/g, (_m, a, b) => `${a} ${b.toLowerCase()}`)
    .replace(/[._]/g, ' ')
}
