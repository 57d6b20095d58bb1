import type { JsonObject } from './json.ts'
import { isJsonObject } from './json.ts'
import type { Instant } from './time.ts'
import { instantOf, parseInstant } from './time.ts'

const dayMs = 86_400_000

/** Whether the platform knows the time zone. */
export function isZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }) instanceof Intl.DateTimeFormat
  } catch {
    return false
  }
}

/**
 * Reads when somebody leaves: an instant as it stands, and a date alone (2027-01-31) as the end of that
 * day in `zone`, for whoever leaves on a day still works on it.
 * @param zone a name of the IANA time zone database; see `isZone`
 * @returns null when it is no date that exists
 */
export function parseLeaveDate(text: string, zone: string): Instant | null {
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text)
  if (!isDay) return /(Z|[+-]\d{2}:\d{2})$/.test(text) ? parseInstant(text) : null
  const midnight = parseInstant(`${text}T00:00:00Z`)
  if (midnight === null) return null
  const wall = Date.parse(midnight) + dayMs
  // Twice: the offset at the first guess may be the one before the clocks change.
  const guess = wall - offsetAt(wall, zone)
  return instantOf(wall - offsetAt(guess, zone))
}

/** How far the zone's clocks are ahead of UTC at that instant, in milliseconds. */
function offsetAt(at: number, zone: string): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  })
  const part = Object.fromEntries(format.formatToParts(at).map((p) => [p.type, Number(p.value)]))
  const { year, month, day, hour, minute, second } = part
  return Date.UTC(year!, month! - 1, day, hour, minute, second) - Math.floor(at / 1000) * 1000
}

/** Where a directory puts the date; see src/scim/schemas/person-user.json. */
const personUrn = 'urn:custody:scim:schemas:extension:person:1.0:User'

/** What a directory says of when somebody leaves; null = nothing. */
export function saidLeaveDate(attributes: JsonObject): string | null {
  const person = attributes[personUrn]
  const said = isJsonObject(person) ? person['leavesAt'] : null
  return typeof said === 'string' && said !== '' ? said : null
}

/**
 * The date after a directory's write: its own where it says another one than before, else the one that
 * is known, for a list may know better. One that cannot be read changes nothing: refusing it would
 * keep the same write from deactivating somebody.
 */
export function leavesAtAfter(
  before: { readonly attributes: JsonObject; readonly leavesAt?: Instant | null },
  attributes: JsonObject,
): Instant | null {
  const known = before.leavesAt ?? null
  const said = saidLeaveDate(attributes)
  if (said === saidLeaveDate(before.attributes)) return known
  return said === null ? null : (parseLeaveDate(said, 'UTC') ?? known)
}
