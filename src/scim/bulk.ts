import type { AppError } from '../domain/errors.ts'
import { errors } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'
import { patchUrn } from './patch-parser.ts'

export const bulkOperationsMax = 500
export const bulkBytesMax = 4_194_304
export const bulkRequestUrn = 'urn:ietf:params:scim:api:messages:2.0:BulkRequest'
export const bulkResponseUrn = 'urn:ietf:params:scim:api:messages:2.0:BulkResponse'

const methods = ['POST', 'PUT', 'PATCH', 'DELETE'] as const
export type BulkMethod = (typeof methods)[number]

/** One operation as asked for; `fault` is why it cannot even be tried. */
export interface BulkOperation {
  readonly method: BulkMethod | null
  readonly bulkId: string | null
  /** First segment of the path, with its slash: `/Users`. */
  readonly endpoint: string
  /** Second segment; `bulkId:x` stands for what operation x creates. */
  readonly id: string | null
  readonly data: Json | undefined
  /** The weak ETag to be met, as in `If-Match`. */
  readonly version: string | null
  readonly fault: AppError | null
}

export interface BulkRequest {
  /** Errors after which to stop; null = never. */
  readonly failOnErrors: number | null
  readonly operations: readonly BulkOperation[]
}

/**
 * One thing to do. `run` executes the operation at `index`, leaving out what `deferred` names: each
 * an attribute, by its path, that refers to something not created yet. `complete` adds those then.
 * `fault` stands where running would be in vain.
 */
export type BulkStep =
  | {
      readonly type: 'run'
      readonly index: number
      readonly deferred: readonly DeferredAttribute[]
      readonly fault: AppError | null
    }
  | {
      readonly type: 'complete'
      readonly index: number
      readonly deferred: readonly DeferredAttribute[]
    }

export interface DeferredAttribute {
  /** Keys from the root of the data: one, or an extension's URN and one. */
  readonly keys: readonly string[]
  readonly path: string
}

/**
 * Reads the envelope of a Bulk request (RFC 7644 §3.7). What is wrong with one operation is that
 * operation's fault; only an envelope that cannot be read is an error of the whole.
 * @throws invalidSyntax, invalidValue, tooManyOperations
 */
export function parseBulk(body: unknown): BulkRequest {
  if (!isJsonObject(body))
    throw errors.invalidSyntax({ reason: 'The body must be one JSON object.' })
  const members = lowerKeys(body)
  const listed = members.get('schemas')
  const urns = Array.isArray(listed) ? (listed as readonly Json[]) : []
  if (!urns.some((urn) => isUrn(urn, bulkRequestUrn))) {
    throw errors.invalidSyntax({ reason: `schemas must be a list with "${bulkRequestUrn}".` })
  }
  const operations = members.get('operations')
  if (!Array.isArray(operations) || operations.length === 0) {
    throw errors.invalidSyntax({ reason: 'Operations must be a list with at least one operation.' })
  }
  if (operations.length > bulkOperationsMax) {
    throw errors.tooManyOperations({ count: operations.length, limit: bulkOperationsMax })
  }
  const failOnErrors = members.get('failonerrors') ?? null
  if (failOnErrors !== null && !(Number.isInteger(failOnErrors) && Number(failOnErrors) > 0)) {
    throw errors.invalidValue({ path: 'failOnErrors', reason: 'must be a whole number above 0.' })
  }
  const seen = new Set<string>()
  return {
    failOnErrors: failOnErrors as number | null,
    operations: (operations as readonly Json[]).map((item) => {
      const operation = parseOperation(item)
      const { bulkId, method } = operation
      const twice = bulkId !== null && method === 'POST' && seen.has(bulkId)
      if (bulkId !== null && method === 'POST') seen.add(bulkId)
      return twice && operation.fault === null
        ? {
            ...operation,
            fault: errors.invalidValue({
              path: 'bulkId',
              reason: `"${bulkId}" stands for another operation already; choose a new one.`,
            }),
          }
        : operation
    }),
  }
}

function parseOperation(item: Json): BulkOperation {
  const members = lowerKeys(isJsonObject(item) ? item : {})
  const text = (name: string): string | null => {
    const value = members.get(name)
    return typeof value === 'string' && value !== '' ? value : null
  }
  const asked = text('method')?.toUpperCase()
  const method = methods.find((known) => known === asked) ?? null
  const bulkId = text('bulkid')
  const [endpoint, id, more] = splitPath(text('path') ?? '')
  const data = members.get('data')
  const fault = (): AppError | null => {
    if (!isJsonObject(item)) {
      return errors.invalidSyntax({ reason: 'Each operation must be an object.' })
    }
    if (method === null) {
      return errors.invalidSyntax({ reason: `method must be one of ${methods.join(', ')}.` })
    }
    if (/^\/(?:bulk|me|\.search)$/i.test(endpoint)) {
      return errors.invalidValue({ path: 'path', reason: `${endpoint} has no place in a Bulk.` })
    }
    if (endpoint === '/' || more) {
      return errors.invalidValue({ path: 'path', reason: 'must be /Endpoint or /Endpoint/id.' })
    }
    if (method === 'POST') {
      if (bulkId === null) return errors.requiredMissing({ path: 'bulkId' })
      if (id !== null) {
        return errors.invalidValue({ path: 'path', reason: 'of a POST must not name an id.' })
      }
    } else if (id === null) {
      return errors.invalidValue({ path: 'path', reason: `of a ${method} must name an id.` })
    }
    if (method !== 'DELETE' && !isJsonObject(data)) return errors.requiredMissing({ path: 'data' })
    return null
  }
  return { method, bulkId, endpoint, id, data, version: text('version'), fault: fault() }
}

function splitPath(path: string): readonly [string, string | null, boolean] {
  const plain = path.replace(/^https?:\/\/[^/]+/i, '').replace(/^\/scim(?:\/v2)?(?=\/)/i, '')
  const [first = '', second, ...rest] = plain.split('/').filter((part) => part !== '')
  return [`/${first}`, second ?? null, rest.length > 0]
}

/** The bulkIds that a value refers to, each once. */
export function referencesIn(value: Json | undefined): readonly string[] {
  const found = new Set<string>()
  const walk = (part: Json | undefined): void => {
    if (typeof part === 'string') {
      const bulkId = referenceOf(part)
      if (bulkId !== null) found.add(bulkId)
    } else if (Array.isArray(part)) for (const item of part as readonly Json[]) walk(item)
    else if (isJsonObject(part)) for (const item of Object.values(part)) walk(item)
  }
  walk(value)
  return [...found]
}

/** A value with every reference replaced by the id it stands for. */
export function resolveReferences(value: Json, ids: ReadonlyMap<string, string>): Json {
  if (typeof value === 'string') {
    const bulkId = referenceOf(value)
    return (bulkId !== null && ids.get(bulkId)) || value
  }
  if (Array.isArray(value)) {
    return (value as readonly Json[]).map((item) => resolveReferences(item, ids))
  }
  if (!isJsonObject(value)) return value
  // `__proto__` was refused when the body was parsed.
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, resolveReferences(item, ids)]),
  )
}

function referenceOf(text: string): string | null {
  return /^bulkId:(.+)$/i.exec(text)?.[1] ?? null
}

/**
 * Orders the operations: as asked, but what one refers to comes before it. In a circle (RFC 7644
 * §3.7.1) the one that is reached first again is created without its reference, which is added as
 * soon as the other exists.
 */
export function planBulk(operations: readonly BulkOperation[]): readonly BulkStep[] {
  const makers = new Map<string, number>()
  for (const [index, { method, bulkId, fault }] of operations.entries()) {
    if (method === 'POST' && bulkId !== null && fault === null) makers.set(bulkId, index)
  }
  const state = new Map<number, 'open' | 'planned'>()
  /** By what is not planned yet: who waits for it, and for how many more. */
  const waiting = new Map<number, Waiting[]>()
  const steps: BulkStep[] = []

  const settle = (planned: number): void => {
    for (const one of waiting.get(planned) ?? []) {
      one.missing -= 1
      if (one.missing > 0) continue
      steps.push({ type: 'complete', index: one.index, deferred: one.deferred })
    }
    waiting.delete(planned)
  }
  const visit = (index: number): void => {
    if (state.has(index)) return
    state.set(index, 'open')
    const operation = operations[index]!
    let fault = operation.fault
    const circular = new Set<number>()
    for (const bulkId of fault ? [] : referencesOf(operation)) {
      const maker = makers.get(bulkId)
      if (maker === undefined) {
        fault ??= errors.bulkIdUnresolved({ bulkId })
      } else if (state.get(maker) === 'open') circular.add(maker)
      else visit(maker)
    }
    const deferred = circular.size === 0 ? [] : deferrable(operation, operations, circular)
    steps.push({ type: 'run', index, deferred, fault })
    state.set(index, 'planned')
    if (deferred.length > 0) {
      const one: Waiting = { index, deferred, missing: circular.size }
      for (const other of circular) waiting.set(other, [...(waiting.get(other) ?? []), one])
    }
    settle(index)
  }
  for (const index of operations.keys()) visit(index)
  return steps
}

interface Waiting {
  readonly index: number
  readonly deferred: readonly DeferredAttribute[]
  missing: number
}

/** What an operation needs to exist: in its data, and in its path. */
export function referencesOf({ data, id }: BulkOperation): readonly string[] {
  const inPath = id === null ? null : referenceOf(id)
  return [...(inPath === null ? [] : [inPath]), ...referencesIn(data)]
}

/** Whole attributes: half a list of members would be a membership nobody asked for. */
function deferrable(
  { data }: BulkOperation,
  operations: readonly BulkOperation[],
  circular: ReadonlySet<number>,
): readonly DeferredAttribute[] {
  const open = new Set([...circular].map((index) => operations[index]!.bulkId))
  const refers = (value: Json): boolean => referencesIn(value).some((bulkId) => open.has(bulkId))
  return Object.entries(isJsonObject(data) ? data : {}).flatMap(([key, value]) => {
    if (!refers(value)) return []
    if (!key.includes(':') || !isJsonObject(value)) return [{ keys: [key], path: key }]
    return Object.entries(value)
      .filter(([, inner]) => refers(inner))
      .map(([name]) => ({ keys: [key, name], path: `${key}:${name}` }))
  })
}

/** The data of an operation without the attributes that come later. */
export function withoutDeferred(
  data: JsonObject,
  deferred: readonly DeferredAttribute[],
): JsonObject {
  const whole = new Set<string>()
  const parts = new Map<string, Set<string>>()
  for (const { keys } of deferred) {
    const [first, second] = keys as readonly [string, string?]
    if (second === undefined) whole.add(first)
    else parts.set(first, (parts.get(first) ?? new Set()).add(second))
  }
  const without = (holder: JsonObject, gone: ReadonlySet<string>): JsonObject =>
    Object.fromEntries(Object.entries(holder).filter(([key]) => !gone.has(key)))
  const inner = Object.entries(without(data, whole)).map(([key, value]) => {
    const gone = parts.get(key)
    return [key, gone && isJsonObject(value) ? without(value, gone) : value] as const
  })
  return Object.fromEntries(inner)
}

/** The PATCH that adds what was left out. */
export function completionOf(data: JsonObject, deferred: readonly DeferredAttribute[]): JsonObject {
  return {
    schemas: [patchUrn],
    Operations: deferred.map(({ keys: [first, second], path }) => {
      const holder = data[first!]
      const value = second === undefined ? holder : isJsonObject(holder) ? holder[second] : null
      return { op: 'add', path, value: value ?? null }
    }),
  }
}

/** Whether a value is this URN, in any case. */
export function isUrn(value: Json, urn: string): boolean {
  return typeof value === 'string' && value.toLowerCase() === urn.toLowerCase()
}

function lowerKeys(value: JsonObject): ReadonlyMap<string, Json> {
  return new Map(Object.entries(value).map(([key, member]) => [key.toLowerCase(), member]))
}
