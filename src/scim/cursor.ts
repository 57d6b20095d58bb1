import { createHmac, timingSafeEqual } from 'node:crypto'
import { errors } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import type { Instant } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'

/** Seconds for which a page's `nextCursor` can be used (RFC 9865 §3, `cursorTimeout`). */
export const cursorSecondsMax = 3_600

const macBytes = 16
const lengthMax = 2_048

/** Where the next page starts: behind this id, in the list of this endpoint. */
export interface Position {
  readonly endpoint: string
  readonly after: string
}

/** All that must stay the same from page to page, the caller included. */
export type CursorBinding = readonly (string | number | null)[]

/**
 * A cursor of URI-unreserved characters only (RFC 9865 §2): the position, bound by a keyed hash to
 * the caller and to every parameter of the query, so that it opens nothing for anyone else.
 */
export function sealCursor(
  key: Secret,
  binding: CursorBinding,
  position: Position,
  now: Instant,
): string {
  const payload = Buffer.from(JSON.stringify([position.endpoint, position.after, now]))
  return Buffer.concat([macOf(key, binding, payload), payload]).toString('base64url')
}

/**
 * Reads a cursor back. Forged ones, those of another client and those of another query are told
 * apart by nobody: all get the same error.
 * @throws invalidCursor, expiredCursor
 */
export function openCursor(
  key: Secret,
  binding: CursorBinding,
  cursor: string,
  now: Instant,
): Position {
  if (cursor.length > lengthMax || !/^[A-Za-z0-9_-]+$/.test(cursor)) throw errors.invalidCursor({})
  const bytes = Buffer.from(cursor, 'base64url')
  const payload = bytes.subarray(macBytes)
  const mac = bytes.subarray(0, macBytes)
  if (mac.length < macBytes || !timingSafeEqual(mac, macOf(key, binding, payload))) {
    throw errors.invalidCursor({})
  }
  const [endpoint, after, at] = JSON.parse(payload.toString('utf8')) as [string, string, Instant]
  if (secondsBetween(at, now) > cursorSecondsMax) {
    throw errors.expiredCursor({ seconds: cursorSecondsMax })
  }
  return { endpoint, after }
}

function macOf(key: Secret, binding: CursorBinding, payload: Uint8Array): Buffer {
  return key.use((bytes) =>
    createHmac('sha256', bytes)
      .update(`scim cursor\0${JSON.stringify(binding)}\0`)
      .update(payload)
      .digest()
      .subarray(0, macBytes),
  )
}
