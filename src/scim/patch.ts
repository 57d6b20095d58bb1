import type { Dialect } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { isJsonObject, sameJson } from '../domain/json.ts'
import { does } from './dialects.ts'
import type { FilterNode, PathExpression } from './filter.ts'
import { parsePath } from './filter.ts'
import type { PatchOperation } from './patch-parser.ts'
import { checkCount, weightOf } from './patch-parser.ts'
import type { AttributeTarget, Context, Target } from './patch-update.ts'
import { asElement, update, writable } from './patch-update.ts'
import { assertSameClass, checkImmutable } from './resource.ts'
import type { ResourceSchema, Schema, SchemaAttribute } from './schema.ts'
import { findSub, isClosed, isExtension, nearestSub, qualify, resolvePath } from './schema.ts'
import { checkElements, dropRepeats, inOrder, isUnassigned } from './value.ts'

export { parsePatch, patchOperationsMax, patchUrn } from './patch-parser.ts'
export type { PatchOperation } from './patch-parser.ts'

export interface PatchResult {
  /** Attributes a patch emptied stay as `[]`, so that a reader can tell "emptied" from "not there". */
  readonly resource: JsonObject
  /** Canonical paths of the attributes that changed, sorted; none when nothing did. */
  readonly changed: readonly string[]
}

/**
 * Elements looked at by all operations of a request, each once and once more per term of a filter:
 * 1 000 operations with a filter on a list of 1 000 held everybody up for 600 ms.
 */
export const patchEffortMax = 50_000

/**
 * Applies a PATCH request to a resource, in order, all operations or none: each yields a new
 * object, so the input is never modified and an error leaves nothing behind.
 * @param resource in canonical form, as rendered
 * @throws invalidPath, invalidFilter, invalidValue, noTarget, mutability, unknownAttribute
 *   tooMany (RFC 7644 §3.5.2, §3.12)
 */
export function applyPatch(
  resource: JsonObject,
  operations: readonly PatchOperation[],
  schema: ResourceSchema,
  { dialect }: { readonly dialect: Dialect },
): PatchResult {
  checkCount(operations.reduce((sum, operation) => sum + weightOf(operation), 0))
  const context: Context = { schema, dialect, spend: budget(patchEffortMax) }
  let patched = resource
  for (const operation of operations) patched = applyOne(patched, operation, context)
  patched = tidy(resource, patched, schema)
  assertSameClass(resource, patched)
  checkRemovals(resource, patched, schema)
  checkImmutable(resource, patched, schema)
  return { resource: patched, changed: changedPaths(resource, patched, schema) }
}

function budget(most: number): Context['spend'] {
  let spent = 0
  return (units) => {
    spent += units
    if (spent <= most) return
    throw errors.tooMany({
      reason: `The operations together look at more than ${most} values (elements of the list × terms of the filter); split the request.`,
    })
  }
}

function applyOne(resource: JsonObject, operation: PatchOperation, context: Context): JsonObject {
  const { op, path, value } = operation
  if (path === null) return applyMembers(resource, op, value, context.schema.core, context)
  const target = locate(parsePath(path, context.dialect), path, context)
  return target ? applyTo(resource, op, target, value, context) : resource
}

/** Each member of the value is a path of its own: plain, dotted, with a URN, even with a filter. */
function applyMembers(
  resource: JsonObject,
  op: PatchOperation['op'],
  value: Json | undefined,
  part: Schema,
  context: Context,
): JsonObject {
  if (!isJsonObject(value)) {
    throw errors.invalidValue({ path: part.id, reason: 'must be an object of attributes.' })
  }
  let patched = resource
  for (const [key, member] of Object.entries(value)) {
    const path = qualify(context.schema, part, key)
    const expression = path.includes('[')
      ? parsePath(path, context.dialect)
      : { path, filter: null, sub: null }
    const target = locate(expression, path, context)
    if (!target || isIgnored(target, context)) continue
    patched = applyTo(patched, op, target, member, context)
  }
  return patched
}

/**
 * authentik and Okta put the whole resource into a path-less replace, `id` and `schemas` included.
 * `schemas` there describes the value: taking it as an order would drop the extensions it omits.
 */
function isIgnored({ attribute, sub }: Target, { dialect }: Context): boolean {
  if (attribute?.name === 'schemas') return true
  const readOnly = attribute?.mutability === 'readOnly' || sub?.mutability === 'readOnly'
  return readOnly && does(dialect, 'ignoresReadOnlyMembers')
}

/** @returns null when the path leads nowhere and this client may send such paths */
function locate(expression: PathExpression, path: string, context: Context): Target | null {
  const { schema, dialect } = context
  const resolved = resolvePath(schema, expression.path, does(dialect, 'readsDottedUrn'))
  if (!resolved.found) return unknownPath(path, resolved.schema, resolved.nearest, dialect)
  const { attribute } = resolved
  if (expression.filter && (!attribute?.multiValued || resolved.sub)) {
    throw errors.invalidPath({ path, reason: 'only a multi-valued attribute takes a filter.' })
  }
  let { sub } = resolved
  if (expression.sub !== null && attribute) {
    sub = findSub(attribute, expression.sub)
    if (!sub) {
      const hint = (): string | null => nearestSub(attribute, resolved.path, expression.sub ?? '')
      return unknownPath(path, resolved.schema, hint, dialect)
    }
  }
  if (expression.filter && !sub && !does(dialect, 'patchesWholeElements')) {
    throw errors.invalidPath({ path, reason: 'a path with a filter must end in a sub-attribute.' })
  }
  return { part: resolved.schema, attribute, sub, filter: expression.filter, path: resolved.path }
}

function unknownPath(
  path: string,
  part: Schema | null,
  nearest: () => string | null,
  dialect: Dialect,
): null {
  if (part && isClosed(part)) throw errors.unknownAttribute({ path, nearest: nearest() })
  if (does(dialect, 'ignoresUnknownPaths')) return null
  const close = nearest()
  const hint = close ? `; did you mean "${close}"?` : '.'
  throw errors.invalidPath({ path, reason: `it is not an attribute of this resource${hint}` })
}

function applyTo(
  resource: JsonObject,
  op: PatchOperation['op'],
  target: Target,
  value: Json | undefined,
  context: Context,
): JsonObject {
  const { attribute, part, sub } = target
  if (!attribute) return applyToSchema(resource, op, part, value, context)
  if (attribute.mutability === 'readOnly' || sub?.mutability === 'readOnly') {
    throw errors.mutability({ path: target.path, reason: 'is read-only.' })
  }
  const holder = isExtension(context.schema, part) ? (resource[part.id] ?? {}) : resource
  const current = isJsonObject(holder) ? holder[attribute.name] : undefined
  if (Array.isArray(current)) context.spend(current.length * (1 + termsOf(target.filter)))
  const aim: AttributeTarget = { ...target, attribute }
  const next = update(current, op, aim, value, context)
  if (Array.isArray(next)) checkElements(next.length, target.path)
  const patched = put(resource, part, attribute.name, next, context.schema)
  return attribute.name === 'schemas' ? dropUnlisted(patched, context.schema) : patched
}

function applyToSchema(
  resource: JsonObject,
  op: PatchOperation['op'],
  part: Schema,
  value: Json | undefined,
  context: Context,
): JsonObject {
  if (!isExtension(context.schema, part)) {
    if (op === 'remove') throw errors.mutability({ path: part.id, reason: 'cannot be removed.' })
    return applyMembers(resource, op, value, part, context)
  }
  if (op === 'remove' || isUnassigned(value)) {
    if (op === 'add') return resource
    if (!Object.hasOwn(resource, part.id) && !does(context.dialect, 'removesNothing')) {
      throw errors.noTarget({ path: part.id })
    }
    return without(resource, part.id)
  }
  return applyMembers(resource, op, value, part, context)
}

function put(
  resource: JsonObject,
  part: Schema,
  name: string,
  value: Json | undefined,
  schema: ResourceSchema,
): JsonObject {
  if (isExtension(schema, part)) {
    const holder = resource[part.id]
    const inner = assign(isJsonObject(holder) ? holder : {}, name, value)
    return { ...resource, [part.id]: inner }
  }
  return assign(resource, name, value)
}

function assign(holder: JsonObject, name: string, value: Json | undefined): JsonObject {
  const empty = Array.isArray(value) && value.length === 0
  if (value === undefined || (empty && holder[name] === undefined)) return without(holder, name)
  return { ...holder, [name]: value }
}

function without(holder: JsonObject, name: string): JsonObject {
  const { [name]: _, ...rest } = holder
  return rest
}

/** PATCH of `schemas` may remove an extension (RFC 7643 §3.3). */
function dropUnlisted(resource: JsonObject, schema: ResourceSchema): JsonObject {
  const sent = resource['schemas']
  const listed = (Array.isArray(sent) ? sent : []).map((urn) => String(urn).toLowerCase())
  const gone = schema.extensions.filter((part) => !listed.includes(part.id.toLowerCase()))
  return gone.reduce((patched, part) => without(patched, part.id), resource)
}

/**
 * Canonical order, nothing unassigned, and `schemas` lists an extension exactly while it has a
 * value. A list that had values and was emptied stays as `[]`: to a reader of the result that is
 * an order ("none of them"), where absence would mean "as they were".
 */
function tidy(before: JsonObject, resource: JsonObject, schema: ResourceSchema): JsonObject {
  const present = schema.extensions.filter((part) => !isUnassigned(resource[part.id]))
  const own = assigned(before, resource)
  own.set('schemas', [schema.core.id, ...present.map((part) => part.id)])
  const meta = resource['meta']
  own.delete('meta')
  return {
    ...inOrder(schema.common.attributes, own),
    ...inOrder(schema.core.attributes, own),
    ...Object.fromEntries(
      present.map((part) => [
        part.id,
        inOrder(
          part.attributes,
          assigned(asElement(before[part.id]), asElement(resource[part.id])),
        ),
      ]),
    ),
    ...(meta === undefined ? {} : { meta }),
  }
}

function assigned(before: JsonObject, after: JsonObject): Map<string, Json> {
  const kept = new Map<string, Json>()
  for (const [name, value] of Object.entries(after)) {
    const isList = Array.isArray(value)
    if (isUnassigned(value)) {
      if (isList && !isUnassigned(before[name])) kept.set(name, [])
    } else if (isList) {
      kept.set(name, dropRepeats((value as readonly Json[]).filter((item) => !isUnassigned(item))))
    } else kept.set(name, value)
  }
  return kept
}

type Compare = (
  attribute: SchemaAttribute,
  was: Json | undefined,
  is: Json | undefined,
  path: string,
) => void

function eachAttribute(
  before: JsonObject,
  after: JsonObject,
  schema: ResourceSchema,
  compare: Compare,
): void {
  for (const part of [schema.common, schema.core, ...schema.extensions]) {
    const inside = isExtension(schema, part)
    const was = inside ? asElement(before[part.id]) : before
    const is = inside ? asElement(after[part.id]) : after
    for (const attribute of part.attributes) {
      const path = qualify(schema, part, attribute.name)
      compare(attribute, was[attribute.name], is[attribute.name], path)
    }
  }
}

function checkRemovals(before: JsonObject, after: JsonObject, schema: ResourceSchema): void {
  eachAttribute(before, after, schema, ({ required, mutability }, was, is, path) => {
    if ((required || mutability === 'immutable') && !isUnassigned(was) && isUnassigned(is)) {
      const reason = `is ${required ? 'required' : 'immutable'} and cannot be removed.`
      throw errors.mutability({ path, reason })
    }
  })
}

function changedPaths(
  before: JsonObject,
  after: JsonObject,
  schema: ResourceSchema,
): readonly string[] {
  const changed: string[] = []
  eachAttribute(before, after, schema, (attribute, was, is, path) => {
    if (attribute.mutability === 'readOnly') return
    if (isUnassigned(was) && isUnassigned(is)) return
    if (!sameJson(comparable(was, attribute), comparable(is, attribute))) changed.push(path)
  })
  return changed.sort()
}

function termsOf(filter: FilterNode | null): number {
  if (filter === null) return 0
  if (filter.op === 'and' || filter.op === 'or') {
    return filter.nodes.reduce((sum, node) => sum + termsOf(node), 0)
  }
  return filter.op === 'not' || filter.op === 'valuePath' ? termsOf(filter.node) : 1
}

/** What a client replaced without the parts we derive is no change. */
function comparable(value: Json | undefined, attribute: SchemaAttribute): Json | undefined {
  if (Array.isArray(value)) {
    return (value as readonly Json[]).map((item) => comparable(item, attribute) as Json)
  }
  return isJsonObject(value) ? writable(value, attribute) : value
}
