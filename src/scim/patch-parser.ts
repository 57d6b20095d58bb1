import type { Dialect } from '../domain/client.ts'
import type { AppError } from '../domain/errors.ts'
import { errors } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'
import { does } from './dialects.ts'

export const patchOperationsMax = 1_000
export const patchUrn = 'urn:ietf:params:scim:api:messages:2.0:PatchOp'

export interface PatchOperation {
  readonly op: 'add' | 'remove' | 'replace'
  readonly path: string | null
  /** Undefined when the operation has none; null is a value. */
  readonly value: Json | undefined
}

/**
 * Reads the body of a PATCH request (RFC 7644 §3.5.2). Keys and `op` are read in any case, members
 * that no operation has are ignored.
 * @throws invalidSyntax, invalidPath, invalidValue, noTarget, tooMany
 */
export function parsePatch(body: unknown, dialect: Dialect): readonly PatchOperation[] {
  if (!isJsonObject(body)) throw syntax('The body must be one JSON object.')
  const members = lowerKeys(body)
  const schemas = members.get('schemas')
  const isPatch = (urn: unknown): boolean =>
    typeof urn === 'string' && urn.toLowerCase() === patchUrn.toLowerCase()
  if (
    !does(dialect, 'patchesWithoutSchemas') &&
    !(Array.isArray(schemas) && schemas.some(isPatch))
  ) {
    throw syntax(`schemas must be a list with "${patchUrn}".`)
  }
  const operations = members.get('operations')
  if (!Array.isArray(operations) || operations.length === 0) {
    throw syntax('Operations must be a list with at least one operation.')
  }
  checkCount(operations.length)
  return (operations as readonly Json[]).map((item, i) => parseOperation(item, i, dialect))
}

function parseOperation(item: Json, index: number, dialect: Dialect): PatchOperation {
  const at = `Operations[${index}]`
  if (!isJsonObject(item)) throw syntax(`${at} must be an object.`)
  const members = lowerKeys(item)
  const sent = members.get('op')
  const op = typeof sent === 'string' ? sent.toLowerCase() : sent
  if (op !== 'add' && op !== 'remove' && op !== 'replace') {
    throw syntax(`${at}.op must be add, remove or replace.`)
  }
  const path = members.get('path') ?? null
  if (path !== null && typeof path !== 'string') {
    throw errors.invalidPath({ path: JSON.stringify(path), reason: `${at}.path must be text.` })
  }
  // An empty path is how some template-driven clients leave it out.
  const target = path === '' && does(dialect, 'readsEmptyPathAsNone') ? null : path
  const value = members.get('value')
  if (target === null && op === 'remove') throw errors.pathRequired({ operation: at })
  if (target === null && does(dialect, 'requiresPath')) {
    throw syntax(`${at}.path is required for this client.`)
  }
  if (op !== 'remove' && value === undefined) {
    throw errors.invalidValue({ path: `${at}.value`, reason: `is required to ${op}.` })
  }
  if (target === null && !isJsonObject(value)) {
    throw errors.invalidValue({
      path: `${at}.value`,
      reason: 'must be an object of attributes when there is no path.',
    })
  }
  return { op, path: target, value }
}

function lowerKeys(value: JsonObject): ReadonlyMap<string, Json> {
  return new Map(Object.entries(value).map(([key, member]) => [key.toLowerCase(), member]))
}

function syntax(reason: string): AppError {
  return errors.invalidSyntax({ reason })
}

/** @throws tooMany */
export function checkCount(count: number): void {
  if (count > patchOperationsMax) {
    throw errors.tooMany({
      reason: `The request has ${count} operations, at most ${patchOperationsMax} are allowed; split it.`,
    })
  }
}

/** A path-less operation counts as one per member: each is applied like an operation of its own. */
export function weightOf({ path, value }: PatchOperation): number {
  if (path !== null || !isJsonObject(value)) return isJsonObject(value) ? sizeOf(value) : 1
  return Object.values(value).reduce<number>((sum, member) => sum + sizeOf(member), 0)
}

function sizeOf(value: Json): number {
  return isJsonObject(value) ? Math.max(1, Object.keys(value).length) : 1
}
