import type { Dialect } from '../domain/client.ts'
import type { AppError } from '../domain/errors.ts'
import { errors, nearest } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { assertNever, isJsonObject } from '../domain/json.ts'
import { normalise } from '../domain/text.ts'
import { parseInstant } from '../domain/time.ts'
import { does } from './dialects.ts'
import { deliveryAsObject, deliveryAsText } from './deliver-to.ts'
import type { SchemaAttribute } from './schema.ts'
import { findSub, nearestSub } from './schema.ts'

/** Elements of one multi-valued attribute; what a PATCH costs grows with operations × elements. */
export const elementsMax = 1_000

/** Members are kept as rows and changed by key, so a request may name more of them. */
export const membersMax = 5_000

/** @throws tooMany */
export function checkElements(count: number, path: string): void {
  const most = path === 'members' ? membersMax : elementsMax
  if (count <= most) return
  throw errors.tooMany({
    reason: `${path} would have ${count} values; at most ${most} fit.`,
  })
}

export interface ReadRules {
  readonly dialect: Dialect
  /** Our own schemas: unknown attributes and values outside `canonicalValues` are refused in every dialect. */
  readonly closed: boolean
  /** A PATCH may name some sub-attributes of a complex value and leave the required ones alone. */
  readonly partial: boolean
}

/**
 * Reads one attribute's value as a client sent it into its canonical form: names and canonical
 * values in their published spelling, dates as `Instant`, read-only parts dropped. What lenient
 * absorbs is what Okta, Entra, OneLogin and Ping are known to send.
 * @returns undefined when the value means "unassigned" (null, `[]`, nothing left inside)
 * @throws invalidValue, requiredMissing, unknownAttribute, badPath
 */
export function readValue(
  attribute: SchemaAttribute,
  value: Json,
  path: string,
  rules: ReadRules,
): Json | undefined {
  if (value === null) return undefined
  if (attribute.multiValued) return readList(attribute, value, path, rules)
  if (!Array.isArray(value)) return readOne(attribute, value, path, rules)
  if (value.length === 0) return undefined
  if (does(rules.dialect, 'readsOneAsList') && value.length === 1) {
    return readValue(attribute, value[0] as Json, path, rules)
  }
  throw errors.invalidValue({ path, reason: 'takes one value, not a list.' })
}

function readList(
  attribute: SchemaAttribute,
  value: Json,
  path: string,
  rules: ReadRules,
): Json | undefined {
  if (!Array.isArray(value) && !does(rules.dialect, 'readsOneAsList')) {
    throw errors.invalidValue({ path, reason: 'must be a list.' })
  }
  const items = (Array.isArray(value) ? value : [value]) as readonly Json[]
  checkElements(items.length, path)
  const elements: Json[] = []
  for (const item of items) {
    const element = item === null ? undefined : readOne(attribute, item, path, rules)
    if (element !== undefined) elements.push(element)
  }
  const single = findSub(attribute, 'primary') ? onePrimary(elements, path, rules) : elements
  const distinct = dropRepeats(single)
  return distinct.length === 0 ? undefined : distinct
}

/** PingOne marks two e-mails as primary when one is empty; the first one keeps the mark. */
function onePrimary(elements: readonly Json[], path: string, rules: ReadRules): readonly Json[] {
  const isPrimary = (element: Json): element is JsonObject =>
    isJsonObject(element) && element['primary'] === true
  const primaries = elements.filter(isPrimary)
  if (primaries.length < 2) return elements
  if (!does(rules.dialect, 'keepsFirstPrimary')) {
    throw errors.invalidValue({ path, reason: 'only one element may be primary.' })
  }
  return elements.map((element) =>
    isPrimary(element) && element !== primaries[0] ? { ...element, primary: false } : element,
  )
}

/** The same (type, value) pair is never kept twice (RFC 7643 §2.4). */
export function dropRepeats(elements: readonly Json[]): readonly Json[] {
  const seen = new Set<string>()
  return elements.filter((element) => {
    const named = isJsonObject(element) && element['value'] !== undefined
    const key = JSON.stringify(named ? [element['type'] ?? null, element['value']] : element)
    const first = !seen.has(key)
    seen.add(key)
    return first
  })
}

function readOne(
  attribute: SchemaAttribute,
  sent: Json,
  path: string,
  rules: ReadRules,
): Json | undefined {
  const value = respell(attribute, sent, rules)
  switch (attribute.type) {
    case 'complex':
      return readComplex(attribute, value, path, rules)
    case 'boolean':
      return readBoolean(attribute, value, path, rules)
    case 'integer':
    case 'decimal':
      if (typeof value !== 'number' || (attribute.type === 'integer' && !Number.isInteger(value))) {
        throw errors.invalidValue({ path, reason: `must be a number of type ${attribute.type}.` })
      }
      return value
    case 'dateTime':
      return readDate(value, path, rules)
    case 'binary':
      if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) {
        throw errors.invalidValue({ path, reason: 'must be base64 text.' })
      }
      return value === '' ? undefined : value
    case 'string':
    case 'reference':
      return readText(attribute, value, path, rules)
    default:
      return assertNever(attribute.type)
  }
}

/**
 * `deliverTo` is text in one schema and complex in the other; both forms are read in both. Of a
 * member some clients send `displayName` for `display`.
 */
function respell(attribute: SchemaAttribute, value: Json, { dialect }: ReadRules): Json {
  if (attribute.name === 'members' && does(dialect, 'readsMemberNames') && isJsonObject(value)) {
    const sent = Object.entries(value).find(([key]) => key.toLowerCase() === 'displayname')
    return sent && value['display'] === undefined ? { ...value, display: sent[1] } : value
  }
  if (attribute.name !== 'deliverTo') return value
  return attribute.type === 'complex' ? deliveryAsObject(value) : deliveryAsText(value)
}

function readBoolean(
  attribute: SchemaAttribute,
  value: Json,
  path: string,
  rules: ReadRules,
): boolean | undefined {
  if (typeof value === 'boolean') return value
  // Entra sends "False". A leaver must not survive a dialect, so `active` is coerced in all of them.
  const reads = attribute.name === 'active' || does(rules.dialect, 'readsBooleanWords')
  if (typeof value === 'string' && reads) {
    const word = value.toLowerCase()
    if (word === 'true') return true
    if (word === 'false') return false
    if (word === '' && does(rules.dialect, 'emptyTextUnassigns')) return undefined
  }
  throw errors.invalidValue({ path, reason: 'must be true or false.' })
}

function readDate(value: Json, path: string, rules: ReadRules): string | undefined {
  if (value === '' && does(rules.dialect, 'emptyTextUnassigns')) return undefined
  const instant = typeof value === 'string' ? parseInstant(value) : null
  if (instant === null) {
    throw errors.invalidValue({
      path,
      reason: 'must be a date and time such as "2027-01-31T12:00:00Z".',
    })
  }
  return instant
}

function readText(
  attribute: SchemaAttribute,
  value: Json,
  path: string,
  rules: ReadRules,
): string | undefined {
  const asText = typeof value === 'number' && does(rules.dialect, 'readsNumberAsText')
  const text = asText ? String(value) : value
  if (typeof text !== 'string') throw errors.invalidValue({ path, reason: 'must be text.' })
  const unassigns = attribute.required || rules.closed || does(rules.dialect, 'emptyTextUnassigns')
  if (text === '' && unassigns) return undefined
  return canonicalValue(attribute, text, path, rules)
}

/**
 * RFC 7643 §7 calls canonical values suggestions. They bind where our own behaviour hangs on them,
 * and in the interop dialect, whose profile demands it.
 */
function canonicalValue(
  attribute: SchemaAttribute,
  text: string,
  path: string,
  rules: ReadRules,
): string {
  const known = attribute.canonicalValues
  const binds = rules.closed || does(rules.dialect, 'bindsCanonicalValues')
  if (!known || !binds || known.includes(text)) return text
  const respelt = known.find((candidate) => normalise(candidate) === normalise(text))
  const respells = !attribute.caseExact || does(rules.dialect, 'respellsCanonicalValues')
  if (respelt !== undefined && respells) return respelt
  const close = nearest(text, known)
  throw errors.invalidValue({
    path,
    reason: `"${text}" is not one of ${known.join(', ')}${close ? `; did you mean "${close}"?` : '.'}`,
  })
}

function readComplex(
  attribute: SchemaAttribute,
  sent: Json,
  path: string,
  rules: ReadRules,
): JsonObject | undefined {
  // Entra sends `manager: "id"` and, to clear it, `manager: ""`.
  const bare =
    typeof sent === 'string' &&
    does(rules.dialect, 'readsBareReference') &&
    findSub(attribute, 'value')
  const value = bare ? { value: sent } : sent
  if (!isJsonObject(value)) {
    throw errors.invalidValue({ path, reason: 'must be an object with sub-attributes.' })
  }
  const read = new Map<string, Json>()
  for (const [key, part] of Object.entries(value)) {
    const sub = findSub(attribute, key)
    if (!sub) {
      refuseUnknown(attribute, key, path, rules)
      continue
    }
    if (sub.mutability === 'readOnly') continue
    const result = readValue(sub, part, `${path}.${sub.name}`, rules)
    if (result === undefined) read.delete(sub.name)
    else read.set(sub.name, result)
  }
  if (read.size === 0) return undefined
  const missing = attribute.subAttributes?.find((sub) => sub.required && !read.has(sub.name))
  if (missing && !rules.partial) throw errors.requiredMissing({ path: `${path}.${missing.name}` })
  return inOrder(attribute.subAttributes ?? [], read)
}

/** Only names that a schema spells reach an object, so `__proto__` from a body never does. */
export function inOrder(
  attributes: readonly SchemaAttribute[],
  values: ReadonlyMap<string, Json>,
): JsonObject {
  const result: Record<string, Json> = {}
  for (const { name } of attributes) {
    const value = values.get(name)
    if (value !== undefined) result[name] = value
  }
  return result
}

function refuseUnknown(
  attribute: SchemaAttribute,
  key: string,
  path: string,
  rules: ReadRules,
): void {
  if (!rules.closed && does(rules.dialect, 'ignoresUnknownAttributes')) return
  throw unknownAttribute(`${path}.${key}`, nearestSub(attribute, path, key), rules.dialect)
}

/** The interop profile wants `invalidSyntax` for a name no schema knows, the RFC `invalidValue`. */
export function unknownAttribute(path: string, close: string | null, dialect: Dialect): AppError {
  const error = errors.unknownAttribute({ path, nearest: close })
  return does(dialect, 'callsUnknownSyntax')
    ? errors.invalidSyntax({ reason: error.message })
    : error
}

/** Null, `[]` and `{}` are the same as not being there (RFC 7643 §2.5). */
export function isUnassigned(value: Json | undefined): boolean {
  if (value === undefined || value === null) return true
  if (Array.isArray(value)) return value.every((item) => isUnassigned(item as Json))
  return isJsonObject(value) && Object.values(value).every(isUnassigned)
}
