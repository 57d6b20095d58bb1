import { createHmac, timingSafeEqual } from 'node:crypto'
import { errors } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import type { Instant } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'

/** Seconds for which a page's `nextCursor` can be used (RFC 9865 §3, `cursorTimeout`). */
export const cursorSecondsMax = 3_600

const macBytes = 16
/** Sorted lists put the values themselves into it, those of the root one per type. */
const lengthMax = 8_192

/** Behind what the list of one endpoint goes on; empty = at its start. */
export interface Place {
  readonly endpoint: string
  readonly after: string
}

/** Where the next page starts: the lists that have more to give. */
export type Position = readonly Place[]

/** All that must stay the same from page to page, the caller included. */
export type CursorBinding = readonly (string | number | null)[]

/**
 * A cursor of URI-unreserved characters only (RFC 9865 §2): the position, bound by a keyed hash to
 * the caller and to every parameter of the query, so that it opens nothing for anyone else.
 * @throws tooMany when it would be longer than can be sent back
 */
export function sealCursor(
  key: Secret,
  binding: CursorBinding,
  position: Position,
  now: Instant,
): string {
  const places = position.map(({ endpoint, after }) => [endpoint, after])
  const payload = Buffer.from(JSON.stringify([now, ...places]))
  const cursor = Buffer.concat([macOf(key, binding, payload), payload]).toString('base64url')
  if (cursor.length <= lengthMax) return cursor
  throw errors.tooMany({
    reason: `The values by which the list is sorted are too long for a cursor of ${lengthMax} characters; page by startIndex.`,
  })
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
  const [at, ...places] = JSON.parse(payload.toString('utf8')) as [Instant, ...[string, string][]]
  if (secondsBetween(at, now) > cursorSecondsMax) {
    throw errors.expiredCursor({ seconds: cursorSecondsMax })
  }
  return places.map(([endpoint, after]) => ({ endpoint, after }))
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
