import { errors } from '../domain/errors.ts'
import { isId } from '../domain/ids.ts'
import { isJsonObject } from '../domain/json.ts'
import type { Instant } from '../domain/time.ts'
import { parseInstant } from '../domain/time.ts'

/** Reads one field of a small JSON body. */
export interface Field<T> {
  /** null when it is of another type, or too long. */
  readonly read: (value: unknown) => T | null
  /** What it must be, for whoever sent something else. */
  readonly wants: string
}

export const text: Field<string> = {
  read: (value) =>
    typeof value === 'string' && value.trim() !== '' && value.length <= 1_024 ? value : null,
  wants: 'a text of 1 to 1024 characters',
}

export const flag: Field<boolean> = {
  read: (value) => (typeof value === 'boolean' ? value : null),
  wants: 'true or false, without quotes',
}

/** RFC 3339. */
export const instant: Field<Instant> = {
  read: (value) => (typeof value === 'string' ? parseInstant(value) : null),
  wants: 'a date such as 2027-01-31T00:00:00Z',
}

/** @throws requiredMissing, invalidValue */
export function required<T>(body: unknown, name: string, field: Field<T>): T {
  const value = optional(body, name, field)
  if (value === null) throw errors.requiredMissing({ path: name })
  return value
}

/** @throws invalidValue when it is there and of another type */
export function optional<T>(body: unknown, name: string, field: Field<T>): T | null {
  if (!isJsonObject(body)) return null
  const raw = Object.hasOwn(body, name) ? body[name] : undefined
  if (raw === undefined || raw === null) return null
  const value = field.read(raw)
  if (value === null) {
    throw errors.invalidValue({ path: name, reason: `must be ${field.wants}.` })
  }
  return value
}

/** A switch in the query: `true`, `false`, or null when it is not there. @throws invalidValue */
export function onOff(query: unknown, name: string): boolean | null {
  const value = isJsonObject(query) && Object.hasOwn(query, name) ? query[name] : undefined
  if (value === undefined) return null
  if (value === 'true' || value === 'false') return value === 'true'
  throw errors.invalidValue({ path: name, reason: 'must be true or false.' })
}

export const pageLimit = { standard: 50, most: 200 }

/**
 * `cursor` and `limit` of a list (contract §5). A cursor is the id of the last one shown; a mangled one
 * would look like the end of the list.
 * @throws invalidValue, invalidCursor
 */
export function pageOf(
  query: unknown,
  isCursor: (text: string) => boolean = isId,
): { readonly after: string | null; readonly limit: number } {
  const { cursor, limit } = (query ?? {}) as { cursor?: string; limit?: string }
  if (cursor !== undefined && !isCursor(cursor)) throw errors.invalidCursor({})
  const after = cursor ?? null
  if (limit === undefined) return { after, limit: pageLimit.standard }
  if (!/^[1-9]\d{0,8}$/.test(limit)) {
    const reason = `must be a whole number from 1 on; at most ${pageLimit.most} come at once.`
    throw errors.invalidValue({ path: 'limit', reason })
  }
  return { after, limit: Math.min(Number(limit), pageLimit.most) }
}
