import type { Dialect } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Brand } from '../domain/ids.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { assertNever, isJsonObject } from '../domain/json.ts'
import { compareText, normalise } from '../domain/text.ts'
import { parseInstant } from '../domain/time.ts'
import { does } from './dialects.ts'
import type { ResourceSchema, SchemaAttribute } from './schema.ts'
import { findAttribute, findSub, isExtension, nearestSub, resolvePath } from './schema.ts'
import { isUnassigned } from './value.ts'

export {
  filterDepthMax,
  filterLengthMax,
  filterTermsMax,
  parseFilter,
  parsePath,
} from './filter-parser.ts'
export type { PathExpression } from './filter-parser.ts'

export type CompareOperator = 'eq' | 'ne' | 'co' | 'sw' | 'ew' | 'gt' | 'ge' | 'lt' | 'le'
export type FilterValue = string | number | boolean | null

/** What the grammar yields (RFC 7644 §3.4.2.2); attribute paths are still plain text. */
export type FilterNode =
  | { readonly op: 'and' | 'or'; readonly nodes: readonly FilterNode[] }
  | { readonly op: 'not'; readonly node: FilterNode }
  | {
      readonly op: 'compare'
      readonly path: string
      readonly operator: CompareOperator
      readonly value: FilterValue
      readonly at: number
    }
  | { readonly op: 'present'; readonly path: string; readonly at: number }
  | {
      readonly op: 'valuePath'
      readonly path: string
      /** What one element must satisfy; `emails[type eq "work"].value eq "x"` folds its tail in here. */
      readonly node: FilterNode
      readonly at: number
    }

/** An attribute resolved against the schemas: what the store needs to find it in a document. */
export interface BoundAttribute {
  /** Canonical spelling, e.g. `userName`, `name.familyName`, `urn:…:nhi:1.0:User:owner.value`. */
  readonly path: string
  /** Object keys from the document root; an extension URN is one key. */
  readonly keys: readonly string[]
  /** For each key, whether its value is an array (then any element may match). */
  readonly multiValued: readonly boolean[]
  /** `string` also where `pr` asks about a complex attribute or a whole extension. */
  readonly type: 'string' | 'boolean' | 'decimal' | 'integer' | 'dateTime' | 'binary' | 'reference'
  /** Always true of types other than string: only text is ever normalised. */
  readonly caseExact: boolean
}

export type BoundNode =
  | { readonly op: 'and' | 'or'; readonly nodes: readonly BoundNode[] }
  | { readonly op: 'not'; readonly node: BoundNode }
  | {
      readonly op: 'compare'
      readonly attribute: BoundAttribute
      readonly operator: CompareOperator
      /** Normalised: lower case (simple, by `normalise`) unless caseExact; dateTime as Instant. */
      readonly value: FilterValue
    }
  | { readonly op: 'present'; readonly attribute: BoundAttribute }
  /** The keys of `element`'s attributes start at one element of `attribute`. */
  | { readonly op: 'valuePath'; readonly attribute: BoundAttribute; readonly element: BoundNode }
  /** An attribute no schema knows, in the lenient dialect: matches nothing. */
  | { readonly op: 'never' }

/** The only form a store accepts: every path known, every value of its attribute's type. */
export type BoundFilter = Brand<{ readonly root: BoundNode }, 'BoundFilter'>

export interface BindOptions {
  readonly dialect: Dialect
}

/**
 * Resolves every path of a filter against a resource's schemas and checks every value against its
 * attribute's type, so that a store needs to know neither.
 * @throws invalidFilter for an unknown attribute (outside lenient), an operator that its type does
 *   not have, or a value of another type (RFC 7644 §3.4.2.2)
 */
export function bindFilter(
  node: FilterNode,
  schema: ResourceSchema,
  options: BindOptions,
): BoundFilter {
  return { root: bindNode(node, rootFind(schema, options.dialect), options.dialect) } as BoundFilter
}

/**
 * Resolves `sortBy` (RFC 7644 §3.4.2.3). A complex attribute is ordered by its `value`; what is
 * never shown cannot be ordered by either: the order would tell.
 * @returns null for what no resource of this type can be ordered by
 */
export function bindSort(
  path: string,
  schema: ResourceSchema,
  { dialect }: BindOptions,
): BoundAttribute | null {
  const resolved = resolvePath(schema, path.trim(), does(dialect, 'readsDottedUrn'))
  if (!resolved.found || !resolved.attribute) return null
  const { attribute, sub } = resolved
  const value = sub === null && attribute.type === 'complex' ? findSub(attribute, 'value') : null
  const steps = [attribute, sub ?? value].filter((step) => step !== null)
  const leaf = steps.at(-1)!
  const isSecret = steps.some((s) => s.mutability === 'writeOnly' || s.returned === 'never')
  if (isSecret || leaf.type === 'complex') return null
  const extension = isExtension(schema, resolved.schema) ? [resolved.schema.id] : []
  return bound({
    path: value ? `${resolved.path}.${value.name}` : resolved.path,
    keys: [...extension, ...steps.map((step) => step.name)],
    multiValued: [...extension.map(() => false), ...steps.map((step) => step.multiValued)],
    leaf,
  })
}

/**
 * Binds the inside of a value path, whose names are sub-attributes of `attribute`. A plain
 * multi-valued attribute has the one sub-attribute `value`.
 * @throws invalidFilter
 */
export function bindElement(
  node: FilterNode,
  attribute: SchemaAttribute,
  path: string,
  options: BindOptions,
): BoundNode {
  return bindNode(node, elementFind(attribute, path, options.dialect), options.dialect)
}

/** A path resolved to where it lies; `leaf` is null for an extension as a whole. */
interface Found {
  readonly path: string
  readonly keys: readonly string[]
  readonly multiValued: readonly boolean[]
  readonly leaf: SchemaAttribute | null
}
/** Null stands for an attribute that is unknown and may be. */
type Find = (path: string, at: number) => Found | null

function rootFind(schema: ResourceSchema, dialect: Dialect): Find {
  return (path, at) => {
    const resolved = resolvePath(schema, path, does(dialect, 'readsDottedUrn'))
    if (!resolved.found) return unknown(path, at, resolved.nearest, dialect)
    const extension = isExtension(schema, resolved.schema) ? [resolved.schema.id] : []
    const steps = [resolved.attribute, resolved.sub].filter((step) => step !== null)
    if (extension.length + steps.length === 0) return unknown(path, at, () => null, dialect)
    return {
      path: resolved.path,
      keys: [...extension, ...steps.map((step) => step.name)],
      multiValued: [...extension.map(() => false), ...steps.map((step) => step.multiValued)],
      leaf: steps.at(-1) ?? null,
    }
  }
}

function elementFind(attribute: SchemaAttribute, path: string, dialect: Dialect): Find {
  const subs = attribute.subAttributes ?? [{ ...attribute, name: 'value', multiValued: false }]
  return (name, at) => {
    const leaf = findAttribute(subs, name)
    if (!leaf) {
      const hint = (): string | null => nearestSub(attribute, path, name)
      return unknown(`${path}.${name}`, at, hint, dialect)
    }
    return {
      path: `${path}.${leaf.name}`,
      keys: [leaf.name],
      multiValued: [leaf.multiValued],
      leaf,
    }
  }
}

function unknown(path: string, at: number, nearest: () => string | null, dialect: Dialect): null {
  if (does(dialect, 'unknownFilterMatchesNothing')) return null
  const close = nearest()
  const hint = close ? `; did you mean "${close}"?` : '.'
  throw invalid(`"${path}" is not an attribute of this resource${hint}`, at)
}

function invalid(reason: string, position: number): Error {
  return errors.invalidFilter({ reason, position })
}

function bindNode(node: FilterNode, find: Find, dialect: Dialect): BoundNode {
  switch (node.op) {
    case 'and':
    case 'or':
      return { op: node.op, nodes: node.nodes.map((n) => bindNode(n, find, dialect)) }
    case 'not':
      return { op: 'not', node: bindNode(node.node, find, dialect) }
    case 'present': {
      const found = find(node.path, node.at)
      return found ? { op: 'present', attribute: bound(found) } : { op: 'never' }
    }
    case 'compare':
      return bindCompare(node, find, dialect)
    case 'valuePath': {
      const found = find(node.path, node.at)
      if (!found) return { op: 'never' }
      if (!found.leaf?.multiValued || found.leaf.type !== 'complex') {
        throw invalid(
          `brackets need a multi-valued attribute with sub-attributes, "${found.path}" is none.`,
          node.at,
        )
      }
      const inside = elementFind(found.leaf, found.path, dialect)
      return {
        op: 'valuePath',
        attribute: bound(found),
        element: bindNode(node.node, inside, dialect),
      }
    }
    default:
      return assertNever(node)
  }
}

function bindCompare(
  node: FilterNode & { readonly op: 'compare' },
  find: Find,
  dialect: Dialect,
): BoundNode {
  const named = find(node.path, node.at)
  if (!named) return { op: 'never' }
  const found = toValue(named, node.at, dialect)
  const attribute = bound(found)
  const value = bindValue(attribute, node, dialect)
  return { op: 'compare', attribute, operator: node.operator, value }
}

/** A complex multi-valued attribute without sub-attribute compares its `value` (RFC 7644 §3.4.2.2). */
function toValue(found: Found, at: number, dialect: Dialect): Found {
  const { leaf } = found
  if (leaf && leaf.type !== 'complex') return found
  const value = leaf && findSub(leaf, 'value')
  // `manager eq "id"`: the RFC grants the short form to multi-valued attributes only.
  if (!leaf || !value || !(leaf.multiValued || does(dialect, 'comparesComplexByValue'))) {
    throw invalid(`"${found.path}" has no value of its own; name one of its sub-attributes.`, at)
  }
  return {
    path: `${found.path}.${value.name}`,
    keys: [...found.keys, value.name],
    multiValued: [...found.multiValued, value.multiValued],
    leaf: value,
  }
}

function bound({ path, keys, multiValued, leaf }: Found): BoundAttribute {
  const type = leaf && leaf.type !== 'complex' ? leaf.type : 'string'
  const caseExact = type !== 'string' || !leaf || leaf.caseExact
  return { path, keys, multiValued, type, caseExact }
}

function bindValue(
  attribute: BoundAttribute,
  node: FilterNode & { readonly op: 'compare' },
  dialect: Dialect,
): FilterValue {
  const { operator, value, at } = node
  checkOperator(attribute, operator, at)
  if (value === null) {
    if (operator === 'eq' || operator === 'ne') return null
    throw invalid(`null can be compared with eq and ne only.`, at)
  }
  const wrong = (wanted: string): Error =>
    invalid(
      `"${attribute.path}" is compared with ${wanted}, not with ${JSON.stringify(value)}.`,
      at,
    )
  const loose = does(dialect, 'readsLooseValues')
  switch (attribute.type) {
    case 'boolean': {
      if (typeof value === 'boolean') return value
      const word = typeof value === 'string' && loose ? value.toLowerCase() : ''
      if (word === 'true' || word === 'false') return word === 'true'
      throw wrong('true or false')
    }
    case 'decimal':
    case 'integer':
      if (typeof value === 'number') return value
      throw wrong('a number')
    case 'dateTime': {
      const instant = typeof value === 'string' ? parseInstant(value) : null
      if (instant !== null) return instant
      throw wrong('a date and time such as "2027-01-31T12:00:00Z"')
    }
    case 'string':
    case 'reference':
    case 'binary': {
      // Unquoted `employeeNumber eq 77` is a number to the grammar and text to the client.
      const text = loose && typeof value !== 'string' ? String(value) : value
      if (typeof text !== 'string') throw wrong('text in double quotes')
      return attribute.caseExact ? text : normalise(text)
    }
    default:
      return assertNever(attribute.type)
  }
}

function checkOperator(attribute: BoundAttribute, operator: CompareOperator, at: number): void {
  const isText = attribute.type === 'string' || attribute.type === 'reference'
  const isOrder = operator === 'gt' || operator === 'ge' || operator === 'lt' || operator === 'le'
  const isPart = operator === 'co' || operator === 'sw' || operator === 'ew'
  const unordered = attribute.type === 'boolean' || attribute.type === 'binary'
  if ((isPart && !isText) || (isOrder && unordered)) {
    throw invalid(
      `"${attribute.path}" is of type ${attribute.type}, which ${operator} cannot compare.`,
      at,
    )
  }
}

/**
 * Decides in memory whether a document matches, with the meaning a store has to give the same
 * filter: `ne` and `not` match what is missing, null, `[]` and `{}` are missing, and of several
 * values any one may match.
 */
export function matchFilter(filter: BoundFilter, document: JsonObject): boolean {
  return matchNode(filter.root, document)
}

export function matchNode(node: BoundNode, document: JsonObject): boolean {
  switch (node.op) {
    case 'and':
      return node.nodes.every((n) => matchNode(n, document))
    case 'or':
      return node.nodes.some((n) => matchNode(n, document))
    case 'not':
      return !matchNode(node.node, document)
    case 'never':
      return false
    case 'present':
      return valuesAt(document, node.attribute.keys).length > 0
    case 'compare':
      return matchCompare(node, valuesAt(document, node.attribute.keys))
    case 'valuePath':
      return valuesAt(document, node.attribute.keys).some(
        (element) => isJsonObject(element) && matchNode(node.element, element),
      )
    default:
      return assertNever(node)
  }
}

/** All values a path leads to, through lists at any step; what is unassigned is left out. */
function valuesAt(document: JsonObject, keys: readonly string[]): readonly Json[] {
  const [first] = keys
  if (keys.length === 1 && first !== undefined) {
    // Nearly always: one plain sub-attribute of an element, of which there may be thousands.
    const value = Object.hasOwn(document, first) ? document[first] : null
    if (value === undefined || value === null) return []
    if (typeof value !== 'object') return [value]
  }
  let values: readonly Json[] = [document]
  for (const key of keys) {
    values = values
      .filter((value) => isJsonObject(value) && Object.hasOwn(value, key))
      .flatMap((value) => (value as JsonObject)[key] as Json)
  }
  return values.filter((value) => !isUnassigned(value))
}

function matchCompare(
  node: BoundNode & { readonly op: 'compare' },
  values: readonly Json[],
): boolean {
  const { attribute, operator, value } = node
  if (value === null) return (operator === 'eq') === (values.length === 0)
  if (values.length === 0) return operator === 'ne'
  return values.some((found) => {
    const comparable = comparableOf(attribute, found)
    return comparable !== null && holds(comparable, operator, value)
  })
}

/** A document's value in the form bound values have; null when it is not of the attribute's type. */
function comparableOf(attribute: BoundAttribute, found: Json): FilterValue {
  switch (attribute.type) {
    case 'boolean':
      return typeof found === 'boolean' ? found : null
    case 'decimal':
    case 'integer':
      return typeof found === 'number' ? found : null
    case 'dateTime':
      return typeof found === 'string' ? parseInstant(found) : null
    case 'string':
    case 'reference':
    case 'binary':
      if (typeof found !== 'string') return null
      return attribute.caseExact ? found : normalise(found)
    default:
      return assertNever(attribute.type)
  }
}

function holds(
  found: string | number | boolean,
  operator: CompareOperator,
  wanted: string | number | boolean,
): boolean {
  switch (operator) {
    case 'eq':
      return found === wanted
    case 'ne':
      return found !== wanted
    case 'co':
      return String(found).includes(String(wanted))
    case 'sw':
      return String(found).startsWith(String(wanted))
    case 'ew':
      return String(found).endsWith(String(wanted))
    case 'gt':
      return order(found, wanted) > 0
    case 'ge':
      return order(found, wanted) >= 0
    case 'lt':
      return order(found, wanted) < 0
    case 'le':
      return order(found, wanted) <= 0
    default:
      return assertNever(operator)
  }
}

function order(a: string | number | boolean, b: string | number | boolean): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : compareText(String(a), String(b))
}

/** Writes a filter so that `parseFilter` reads the same tree back. */
export function printFilter(node: FilterNode): string {
  switch (node.op) {
    case 'and':
    case 'or':
      return node.nodes
        .map((n) => (n.op === 'or' || n.op === node.op ? `(${printFilter(n)})` : printFilter(n)))
        .join(` ${node.op} `)
    case 'not':
      return `not (${printFilter(node.node)})`
    case 'present':
      return `${node.path} pr`
    case 'compare':
      return `${node.path} ${node.operator} ${JSON.stringify(node.value)}`
    case 'valuePath':
      return `${node.path}[${printFilter(node.node)}]`
    default:
      return assertNever(node)
  }
}
