import type { Dialect } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { assertNever, isJsonObject } from '../domain/json.ts'
import { normalise } from '../domain/text.ts'
import type { FilterNode, PathExpression } from './filter.ts'
import { bindElement, matchNode, parsePath } from './filter.ts'
import { assertSameClass, checkImmutable } from './resource.ts'
import type { ResourceSchema, Schema, SchemaAttribute } from './schema.ts'
import { findSub, isClosed, isExtension, nearestSub, qualify, resolvePath } from './schema.ts'
import type { ReadRules } from './value.ts'
import { checkElements, inOrder, isUnassigned, readValue, sameJson } from './value.ts'

export const patchOperationsMax = 1_000
export const patchUrn = 'urn:ietf:params:scim:api:messages:2.0:PatchOp'

export interface PatchOperation {
  readonly op: 'add' | 'remove' | 'replace'
  readonly path: string | null
  /** Undefined when the operation has none; null is a value. */
  readonly value: Json | undefined
}

export interface PatchResult {
  /** Attributes a patch emptied stay as `[]`, so that a reader can tell "emptied" from "not there". */
  readonly resource: JsonObject
  /** Canonical paths of the attributes that changed, sorted; none when nothing did. */
  readonly changed: readonly string[]
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
  if (dialect !== 'lenient' && !(Array.isArray(schemas) && schemas.some(isPatch))) {
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
  const target = path === '' && dialect === 'lenient' ? null : path
  const value = members.get('value')
  if (target === null && op === 'remove') throw errors.pathRequired({ operation: at })
  if (target === null && dialect === 'interop') {
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

function syntax(reason: string): Error {
  return errors.invalidSyntax({ reason })
}

function checkCount(count: number): void {
  if (count > patchOperationsMax) {
    throw errors.tooMany({
      reason: `The request has ${count} operations, at most ${patchOperationsMax} are allowed; split it.`,
    })
  }
}

/** A path-less operation counts as one per member: each is applied like an operation of its own. */
function weightOf({ path, value }: PatchOperation): number {
  if (path !== null || !isJsonObject(value)) return isJsonObject(value) ? sizeOf(value) : 1
  return Object.values(value).reduce<number>((sum, member) => sum + sizeOf(member), 0)
}

function sizeOf(value: Json): number {
  return isJsonObject(value) ? Math.max(1, Object.keys(value).length) : 1
}

interface Context {
  readonly schema: ResourceSchema
  readonly dialect: Dialect
}

/** Where an operation acts. Without `attribute` it is a schema as a whole. */
interface Target {
  readonly part: Schema
  readonly attribute: SchemaAttribute | null
  readonly sub: SchemaAttribute | null
  readonly filter: FilterNode | null
  readonly path: string
}
type AttributeTarget = Target & { readonly attribute: SchemaAttribute }

/**
 * Applies a PATCH request to a resource, in order, all operations or none: each yields a new
 * object, so the input is never modified and an error leaves nothing behind.
 * @param resource in canonical form, as rendered
 * @throws invalidPath, invalidFilter, invalidValue, noTarget, mutability, unknownAttribute
 *   (RFC 7644 §3.5.2, §3.12)
 */
export function applyPatch(
  resource: JsonObject,
  operations: readonly PatchOperation[],
  schema: ResourceSchema,
  { dialect }: { readonly dialect: Dialect },
): PatchResult {
  checkCount(operations.reduce((sum, operation) => sum + weightOf(operation), 0))
  const context: Context = { schema, dialect }
  let patched = resource
  for (const operation of operations) patched = applyOne(patched, operation, context)
  patched = tidy(patched, schema)
  assertSameClass(resource, patched)
  checkRemovals(resource, patched, schema)
  checkImmutable(resource, patched, schema)
  return { resource: patched, changed: changedPaths(resource, patched, schema) }
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
  return readOnly && dialect === 'lenient'
}

/** @returns null when the path leads nowhere and this client may send such paths */
function locate(expression: PathExpression, path: string, context: Context): Target | null {
  const { schema, dialect } = context
  const resolved = resolvePath(schema, expression.path, dialect === 'lenient')
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
  if (dialect === 'interop' && expression.filter && !sub) {
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
  if (dialect === 'lenient') return null
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
    if (!Object.hasOwn(resource, part.id) && context.dialect !== 'lenient') {
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

/** The new value of an attribute; undefined and `[]` unassign it. */
function update(
  current: Json | undefined,
  op: PatchOperation['op'],
  target: AttributeTarget,
  value: Json | undefined,
  context: Context,
): Json | undefined {
  const { attribute, filter, sub } = target
  if (!attribute.multiValued) {
    if (sub) return setSub(asElement(current), op, target, sub, value, context)
    return setWhole(current, op, target, value, context)
  }
  const list = Array.isArray(current) ? (current as readonly Json[]) : []
  if (filter) return updateSelected(list, op, target, filter, value, context)
  if (sub) return updateEach(list, op, target, sub, value, context)
  switch (op) {
    case 'add':
      return addAll(list, target, value, context)
    case 'replace':
      return read(attribute, value, target, context) ?? []
    case 'remove':
      return removeListed(list, target, value, context)
    default:
      return assertNever(op)
  }
}

function read(
  attribute: SchemaAttribute,
  value: Json | undefined,
  target: Target,
  context: Context,
): Json | undefined {
  const rules: ReadRules = {
    dialect: context.dialect,
    closed: isClosed(target.part),
    partial: true,
  }
  return readValue(attribute, value ?? null, target.path, rules)
}

function asElement(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}

/** Null added to something changes nothing; any other empty value unassigns (Entra adds `""`). */
function emptied(
  current: Json | undefined,
  op: PatchOperation['op'],
  value: Json | undefined,
): Json | undefined {
  return op === 'add' && isUnassigned(value) ? current : undefined
}

function setWhole(
  current: Json | undefined,
  op: PatchOperation['op'],
  target: AttributeTarget,
  value: Json | undefined,
  context: Context,
): Json | undefined {
  if (op === 'remove') return undefined
  const { attribute } = target
  const next = read(attribute, value, target, context)
  if (attribute.type !== 'complex' || !isJsonObject(current)) {
    return next === undefined ? emptied(current, op, value) : next
  }
  if (next === undefined && !isJsonObject(value)) return emptied(current, op, value)
  // The interop profile wants a complex value replaced as a whole, the RFC merged (§3.5.2.3).
  if (op === 'replace' && context.dialect === 'interop') return next
  return mergeElement(current, asElement(next), value, attribute)
}

/** Lays the given sub-attributes over an element; those given as null or empty are cleared. */
function mergeElement(
  current: JsonObject,
  given: JsonObject,
  sent: Json | undefined,
  attribute: SchemaAttribute,
): JsonObject | undefined {
  const cleared = new Set<string>()
  for (const key of isJsonObject(sent) ? Object.keys(sent) : []) {
    const sub = findSub(attribute, key)
    if (sub && sub.mutability !== 'readOnly' && given[sub.name] === undefined) cleared.add(sub.name)
  }
  // Without its value a reference is nothing: `manager {value: ""}` unassigns the manager.
  if (cleared.has('value')) return undefined
  const repointed = given['value'] !== undefined && !sameJson(given['value'], current['value'])
  const base = repointed && !attribute.multiValued ? {} : current
  const merged = new Map(Object.entries({ ...base, ...given }))
  for (const name of cleared) merged.delete(name)
  const result = inOrder(attribute.subAttributes ?? [], merged)
  return Object.keys(result).length === 0 ? undefined : result
}

/** @returns undefined when nothing worth keeping is left of the element */
function setSub(
  element: JsonObject,
  op: PatchOperation['op'],
  target: AttributeTarget,
  sub: SchemaAttribute,
  value: Json | undefined,
  context: Context,
): JsonObject | undefined {
  const path = target.path.endsWith(`.${sub.name}`) ? target.path : `${target.path}.${sub.name}`
  const was = element[sub.name]
  const next = op === 'remove' ? undefined : read(sub, value, { ...target, path }, context)
  if (op === 'add' && next === undefined && isUnassigned(value)) return element
  if (sub.mutability === 'immutable' && was !== undefined && !sameJson(was, next)) {
    throw errors.mutability({ path, reason: `cannot be changed from ${JSON.stringify(was)}.` })
  }
  const isSum = op === 'add' && sub.multiValued && Array.isArray(was) && Array.isArray(next)
  const sum = isSum ? ([...new Set([...was, ...next])] as readonly Json[]) : next
  const isValue = sub.name === 'value'
  // What is left of an e-mail without its address, or of an owner without an id, says nothing.
  if (isValue && sum === undefined) return undefined
  const values = new Map(Object.entries(element))
  if (isValue && !sameJson(was, sum)) forgetDerived(values, target.attribute)
  if (sum === undefined) values.delete(sub.name)
  else values.set(sub.name, sum)
  const result = inOrder(target.attribute.subAttributes ?? [], values)
  return Object.keys(result).length === 0 ? undefined : result
}

/** `$ref` and names that we derive belong to the old value and must not outlive it. */
function forgetDerived(values: Map<string, Json>, attribute: SchemaAttribute): void {
  for (const sub of attribute.subAttributes ?? []) {
    if (sub.name === '$ref' || sub.mutability === 'readOnly') values.delete(sub.name)
  }
}

function updateEach(
  list: readonly Json[],
  op: PatchOperation['op'],
  target: AttributeTarget,
  sub: SchemaAttribute,
  value: Json | undefined,
  context: Context,
): readonly Json[] {
  if (list.length === 0 && op === 'remove') return list
  const elements = list.length === 0 ? [{}] : list
  const next = elements.map((item) => setSub(asElement(item), op, target, sub, value, context))
  return demote(next, new Set(next))
}

function updateSelected(
  list: readonly Json[],
  op: PatchOperation['op'],
  target: AttributeTarget,
  filter: FilterNode,
  value: Json | undefined,
  context: Context,
): readonly Json[] {
  const { attribute, sub } = target
  const node = bindElement(filter, attribute, target.path, context)
  const isSelected = (item: Json): boolean =>
    matchNode(node, isJsonObject(item) ? item : { value: item })
  const count = list.filter(isSelected).length
  if (count === 0) {
    if (op === 'remove' && context.dialect === 'lenient') return list
    const created = op === 'add' ? createSelected(filter, target, value, context) : undefined
    if (created === undefined) throw errors.noTarget({ path: target.path })
    return demote([...list, created], new Set([created]))
  }
  if (count > 1 && context.dialect === 'interop') {
    throw errors.invalidFilter({
      reason: `${count} elements of "${target.path}" match; for this client one must.`,
      position: null,
    })
  }
  const touched = new Set<Json | undefined>()
  const next = list.map((item) => {
    if (!isSelected(item)) return item
    const changed = sub
      ? setSub(asElement(item), op, target, sub, value, context)
      : setElement(item, op, target, value, context)
    touched.add(changed)
    return changed
  })
  return demote(next, touched)
}

function setElement(
  item: Json,
  op: PatchOperation['op'],
  target: AttributeTarget,
  value: Json | undefined,
  context: Context,
): Json | undefined {
  if (op === 'remove') return undefined
  const next = readElement(target, value, context)
  if (next === undefined) return emptied(item, op, value)
  // The RFC replaces a selected element whole; deployed clients name only what they change.
  if (!isJsonObject(item) || (op === 'replace' && context.dialect !== 'lenient')) return next
  return mergeElement(item, asElement(next), value, target.attribute)
}

function readElement(
  target: AttributeTarget,
  value: Json | undefined,
  context: Context,
): Json | undefined {
  return read({ ...target.attribute, multiValued: false }, value, target, context)
}

/** Entra adds `emails[type eq "work"].value` and expects the element to come into being. */
function createSelected(
  filter: FilterNode,
  target: AttributeTarget,
  value: Json | undefined,
  context: Context,
): Json | undefined {
  const known = equalities(filter)
  if (!known) return undefined
  const { sub } = target
  if (!target.attribute.subAttributes) return readElement(target, value, context)
  const given = sub ? { [sub.name]: value ?? null } : asElement(value)
  return readElement(target, { ...Object.fromEntries(known), ...given }, context)
}

/** The pairs a filter of nothing but `eq` and `and` fixes; null when it leaves anything open. */
function equalities(filter: FilterNode): readonly (readonly [string, Json])[] | null {
  if (filter.op === 'compare' && filter.operator === 'eq') return [[filter.path, filter.value]]
  if (filter.op !== 'and') return null
  const parts = filter.nodes.map(equalities)
  return parts.includes(null) ? null : parts.flatMap((part) => part ?? [])
}

function addAll(
  list: readonly Json[],
  target: AttributeTarget,
  value: Json | undefined,
  context: Context,
): readonly Json[] {
  const items = read(target.attribute, value, target, context)
  if (!Array.isArray(items)) return list
  const { attribute } = target
  const next: Json[] = [...list]
  // Only what the request names is indexed: most requests add one value to a long list.
  const places = new Map<string, number[]>(
    (items as readonly Json[]).map((item) => [identityOf(item, attribute), []]),
  )
  const note = (item: Json, at: number): void => {
    places.get(identityOf(item, attribute))?.push(at)
  }
  next.forEach(note)
  const touched = new Set<Json | undefined>()
  for (const item of items as readonly Json[]) {
    const at = places.get(identityOf(item, attribute))?.find((i) => sameType(next[i], item)) ?? -1
    const known = next[at]
    const merged =
      isJsonObject(known) && isJsonObject(item)
        ? inOrder(attribute.subAttributes ?? [], new Map(Object.entries({ ...known, ...item })))
        : item
    if (at < 0) note(merged, next.push(merged) - 1)
    else next[at] = merged
    touched.add(merged)
  }
  return demote(next, touched)
}

/**
 * What makes two elements the same (beside `type`): their value, compared as its schema says.
 * An element sent without one asks for something new, so there everything a client can write
 * counts; less would take a second credential of the same kind for the first one.
 */
function identityOf(item: Json, attribute: SchemaAttribute): string {
  if (!isJsonObject(item)) return textKey(item, attribute)
  const value = findSub(attribute, 'value')
  if (value && item['value'] !== undefined) return `value ${textKey(item['value'], value)}`
  return `whole ${JSON.stringify(writable(item, attribute))}`
}

function textKey(value: Json, attribute: SchemaAttribute): string {
  const ignoresCase = attribute.type === 'string' && !attribute.caseExact
  return typeof value === 'string' && ignoresCase ? normalise(value) : JSON.stringify(value)
}

/** An element or request without a type means any. */
function sameType(a: Json | undefined, b: Json): boolean {
  if (!isJsonObject(a) || !isJsonObject(b)) return true
  const [one, other] = [a['type'], b['type']]
  return one === undefined || other === undefined || sameJson(one, other)
}

function writable(element: JsonObject, attribute: SchemaAttribute): JsonObject {
  const kept = (attribute.subAttributes ?? []).filter((sub) => sub.mutability !== 'readOnly')
  return inOrder(kept, new Map(Object.entries(element)))
}

/**
 * `remove` with a list of values is no RFC form, but what Entra, authentik and JumpCloud send; a
 * server that ignores the value empties the whole attribute.
 */
function removeListed(
  list: readonly Json[],
  target: AttributeTarget,
  value: Json | undefined,
  context: Context,
): readonly Json[] {
  if (value === undefined || value === null) return []
  const items = read(target.attribute, value, target, context) ?? []
  const isNamed = selector(items as readonly Json[], target.attribute)
  const next = list.filter((element) => !isNamed(element))
  if (next.length === list.length && context.dialect !== 'lenient') {
    throw errors.noTarget({ path: target.path })
  }
  return next
}

/**
 * Which elements a list of values names: by value and type, or, without a value, by all that is
 * given. One pass over each list; comparing each with each took 12 s for 15 000 values.
 */
function selector(items: readonly Json[], attribute: SchemaAttribute): (element: Json) => boolean {
  const byIdentity = new Map<string, Json[]>()
  const byShape = new Map<
    string,
    { readonly names: readonly string[]; readonly found: Set<string> }
  >()
  for (const item of items) {
    if (isJsonObject(item) && item['value'] === undefined) {
      const names = Object.keys(item)
      const shape = byShape.get(names.join()) ?? { names, found: new Set() }
      byShape.set(names.join(), shape)
      shape.found.add(JSON.stringify(names.map((name) => item[name])))
    } else {
      const key = identityOf(item, attribute)
      byIdentity.set(key, [...(byIdentity.get(key) ?? []), item])
    }
  }
  return (element) =>
    byIdentity.get(identityOf(element, attribute))?.some((item) => sameType(element, item)) ===
      true ||
    (isJsonObject(element) &&
      [...byShape.values()].some(({ names, found }) =>
        found.has(JSON.stringify(names.map((name) => element[name] ?? null))),
      ))
}

/** A new primary element demotes the one before (RFC 7644 §3.5.2); of several new ones the last wins. */
function demote(
  list: readonly (Json | undefined)[],
  touched: ReadonlySet<Json | undefined>,
): readonly Json[] {
  const kept = list.filter((item) => item !== undefined)
  const isPrimary = (item: Json): boolean => isJsonObject(item) && item['primary'] === true
  const winner = kept.findLast((item) => touched.has(item) && isPrimary(item))
  if (winner === undefined) return kept
  return kept.map((item) =>
    isJsonObject(item) && item !== winner && isPrimary(item) ? { ...item, primary: false } : item,
  )
}

/** PATCH of `schemas` may remove an extension (RFC 7643 §3.3). */
function dropUnlisted(resource: JsonObject, schema: ResourceSchema): JsonObject {
  const sent = resource['schemas']
  const listed = (Array.isArray(sent) ? sent : []).map((urn) => String(urn).toLowerCase())
  const gone = schema.extensions.filter((part) => !listed.includes(part.id.toLowerCase()))
  return gone.reduce((patched, part) => without(patched, part.id), resource)
}

/** Canonical order, and `schemas` lists an extension exactly while it has a value. */
function tidy(resource: JsonObject, schema: ResourceSchema): JsonObject {
  const present = schema.extensions.filter((part) => !isUnassigned(resource[part.id]))
  const own = new Map(Object.entries(resource))
  own.set('schemas', [schema.core.id, ...present.map((part) => part.id)])
  const meta = resource['meta']
  own.delete('meta')
  return {
    ...inOrder(schema.common.attributes, own),
    ...inOrder(schema.core.attributes, own),
    ...Object.fromEntries(
      present.map((part) => [
        part.id,
        inOrder(part.attributes, new Map(Object.entries(asElement(resource[part.id])))),
      ]),
    ),
    ...(meta === undefined ? {} : { meta }),
  }
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

/** What a client replaced without the parts we derive is no change. */
function comparable(value: Json | undefined, attribute: SchemaAttribute): Json | undefined {
  if (Array.isArray(value)) {
    return (value as readonly Json[]).map((item) => comparable(item, attribute) as Json)
  }
  return isJsonObject(value) ? writable(value, attribute) : value
}
