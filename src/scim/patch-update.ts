import type { Dialect } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { assertNever, isJsonObject, sameJson } from '../domain/json.ts'
import { isStorableText, normalise } from '../domain/text.ts'
import { does } from './dialects.ts'
import type { FilterNode } from './filter.ts'
import { bindElement, matchNode } from './filter.ts'
import type { PatchOperation } from './patch-parser.ts'
import type { ResourceSchema, Schema, SchemaAttribute } from './schema.ts'
import { findSub, isClosed } from './schema.ts'
import type { ReadRules } from './value.ts'
import { inOrder, isUnassigned, readValue } from './value.ts'

export interface Context {
  readonly schema: ResourceSchema
  readonly dialect: Dialect
  /** Accounts for values looked at. @throws tooMany */
  readonly spend: (units: number) => void
}

/** Where an operation acts. Without `attribute` it is a schema as a whole. */
export interface Target {
  readonly part: Schema
  readonly attribute: SchemaAttribute | null
  readonly sub: SchemaAttribute | null
  readonly filter: FilterNode | null
  readonly path: string
}
export type AttributeTarget = Target & { readonly attribute: SchemaAttribute }

/**
 * The new value of one attribute after one operation; undefined and `[]` unassign it.
 * @throws invalidValue, invalidFilter, noTarget, mutability, tooMany
 */
export function update(
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

export function asElement(value: Json | undefined): JsonObject {
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
  if (op === 'replace' && does(context.dialect, 'replacesComplexWhole')) return next
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
    if (op === 'remove' && does(context.dialect, 'removesNothing')) return list
    const created = op === 'add' ? createSelected(filter, target, value, context) : undefined
    if (created === undefined) throw errors.noTarget({ path: target.path })
    return demote([...list, created], new Set([created]))
  }
  if (count > 1 && !does(context.dialect, 'patchesSeveralElements')) {
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
  const replaced = op === 'replace' && !does(context.dialect, 'mergesElements')
  if (!isJsonObject(item) || replaced) return next
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
  // The body was looked through, but not what its filters unescape.
  if (known.some(([, text]) => typeof text === 'string' && !isStorableText(text))) {
    throw errors.invalidFilter({
      reason: `a text for "${target.path}" holds NUL or half of a surrogate pair, which no database keeps; remove it.`,
      position: null,
    })
  }
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

/** The part of an element that a client may write. */
export function writable(element: JsonObject, attribute: SchemaAttribute): JsonObject {
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
  if (next.length === list.length && !does(context.dialect, 'removesNothing')) {
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
