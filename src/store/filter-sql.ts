import { sql, type Expression, type RawBuilder } from 'kysely'
import { assertNever } from '../domain/json.ts'
import { normalise } from '../domain/text.ts'
import type { BoundAttribute, BoundFilter, BoundNode, CompareOperator } from '../scim/filter.ts'
import type { Dialect, ElementSource, PlainType } from './dialect.ts'
import type { ColumnSource, FilterSource } from './sources.ts'
import { arg, type Row, type SqlValue } from './sql.ts'

type Condition = RawBuilder<boolean>
type Value = Expression<unknown>

/** Where a JSON attribute is looked for: a document, or one element of an array inside it. */
interface Scope {
  readonly root: Value
  readonly element: ElementSource | null
}

/** What is asked of the value that a path leads to. */
interface Leaf {
  /** @param whole the path ends at the element itself, not at its `value` */
  readonly ofElement: (element: ElementSource, whole: boolean, negated: boolean) => Condition
  readonly ofRoot: (root: Value, keys: readonly string[], negated: boolean) => Condition
}

/** A value of the filter, as a gap in the SQL: only these facts about it decide what the SQL is. */
interface Operand {
  readonly name: string
  readonly isEmpty: boolean
  /** Whether texts that begin with it end anywhere. */
  readonly hasEnd: boolean
}

type Comparison = Extract<BoundNode, { readonly op: 'compare' }>

const always = sql<boolean>`1 = 1`
const never = sql<boolean>`1 = 0`
const opposite = { eq: 'ne', ne: 'eq', gt: 'le', le: 'gt', lt: 'ge', ge: 'lt' } as const
const symbol = { gt: '>', ge: '>=', lt: '<', le: '<=' } as const

/** Two filters of one shape have the same SQL, whose gaps `args` fills. */
export interface FilterShape {
  readonly shape: string
  readonly args: Row
}

/** Cheap beside compiling, which costs some 80 µs for a filter of one comparison. */
export function shapeOfFilter(filter: BoundFilter): FilterShape {
  const args: Record<string, SqlValue> = {}
  const comparisons: Comparison[] = []
  const ofAttribute = ({ keys, multiValued, type, caseExact }: BoundAttribute): string =>
    `${keys.join(' ')}|${multiValued.join()}|${type}|${caseExact}`

  function node(bound: BoundNode): string {
    switch (bound.op) {
      case 'and':
      case 'or':
        return `${bound.op}(${bound.nodes.map(node).join()})`
      case 'not':
        return `not(${node(bound.node)})`
      case 'never':
        return 'never'
      case 'present':
        return `pr(${ofAttribute(bound.attribute)})`
      case 'valuePath':
        return `in(${ofAttribute(bound.attribute)},${node(bound.element)})`
      case 'compare':
        return comparison(bound)
      default:
        return assertNever(bound)
    }
  }

  function comparison(bound: Comparison): string {
    const { attribute, operator, value } = bound
    const what = `${operator}(${ofAttribute(attribute)})`
    if (value === null) return `${what} null`
    const { name, isEmpty, hasEnd } = operandOf(bound, comparisons.push(bound) - 1)
    args[name] = typeof value === 'boolean' ? Number(value) : value
    if (operator === 'sw') args[`${name}End`] = prefixEnd(String(value))
    if (operator === 'eq') args[`${name}Normal`] = normalise(String(value))
    return `${what} ${isEmpty} ${hasEnd}`
  }

  return { shape: node(filter.root), args }
}

function operandOf({ operator, value }: Comparison, index: number): Operand {
  return {
    name: `value${index}`,
    isEmpty: value === '',
    hasEnd: operator !== 'sw' || prefixEnd(String(value)) !== null,
  }
}

/** The comparisons with a value, in the order in which `shapeOfFilter` counts them. */
function comparisonsOf(bound: BoundNode): readonly Comparison[] {
  switch (bound.op) {
    case 'and':
    case 'or':
      return bound.nodes.flatMap(comparisonsOf)
    case 'not':
      return comparisonsOf(bound.node)
    case 'valuePath':
      return comparisonsOf(bound.element)
    case 'compare':
      return bound.value === null ? [] : [bound]
    case 'present':
    case 'never':
      return []
    default:
      return assertNever(bound)
  }
}

/**
 * Compiles a bound filter to one condition with gaps for its values, as `shapeOfFilter` names them.
 * NOT is pushed down to the comparisons: each of those comes in a positive and a negative form that
 * is never NULL, so that `not (a eq "x")` finds the rows without `a` and an index stays usable
 * (`coalesce` around a column, or NOT around a range, would lose it).
 */
export function filterToSql(
  filter: BoundFilter,
  source: FilterSource,
  dialect: Dialect,
): Condition {
  let aliases = 0
  const operands = new Map(
    comparisonsOf(filter.root).map((bound, index) => [bound, operandOf(bound, index)]),
  )
  const document: Scope = { root: dialect.json.document(sql.ref('doc')), element: null }

  const join = (parts: readonly Condition[], how: 'and' | 'or'): Condition =>
    sql`(${sql.join(parts, how === 'and' ? sql` and ` : sql` or `)})`

  function node(bound: BoundNode, negated: boolean, scope: Scope): Condition {
    switch (bound.op) {
      case 'and':
      case 'or':
        return join(
          bound.nodes.map((n) => node(n, negated, scope)),
          (bound.op === 'and') === negated ? 'or' : 'and',
        )
      case 'not':
        return node(bound.node, !negated, scope)
      case 'never':
        return negated ? always : never
      case 'present':
        return present(bound.attribute, negated, scope)
      case 'compare':
        // `eq null` asks for absence (RFC 7643 §2.5: unassigned and null are the same).
        if (bound.value === null) {
          if (bound.operator === 'eq') return present(bound.attribute, !negated, scope)
          if (bound.operator === 'ne') return present(bound.attribute, negated, scope)
          return negated ? always : never
        }
        return compare(bound, operands.get(bound)!, negated, scope)
      case 'valuePath':
        return valuePath(bound.attribute, bound.element, negated, scope)
      default:
        return assertNever(bound)
    }
  }

  function present(attribute: BoundAttribute, negated: boolean, scope: Scope): Condition {
    if (scope.element === null) {
      const name = attribute.keys.join(' ')
      const column = source.columns.get(name)
      if (column !== undefined) {
        const how = sql.raw(negated ? 'is null' : 'is not null')
        return sql`${sql.ref(column.column)} ${how}`
      }
      if (source.constants.has(name)) return negated ? never : always
    }
    return inside(attribute, negated, scope, {
      ofElement(element, whole, negated) {
        const there = whole ? element.isPresent : element.hasValue
        return negated ? sql`not ${there}` : there
      },
      ofRoot(root, keys, negated) {
        const there = dialect.json.isPresent(root, keys)
        return negated ? sql`not ${there}` : there
      },
    })
  }

  function compare(
    { attribute, operator }: Comparison,
    operand: Operand,
    negated: boolean,
    scope: Scope,
  ): Condition {
    if (scope.element === null) {
      const name = attribute.keys.join(' ')
      const column = source.columns.get(name)
      if (column !== undefined) {
        const found = compareColumn(column, attribute, operator, operand, negated)
        return column.partialOn === undefined || negated
          ? found
          : join([sql`${sql.ref(column.partialOn)} is null`, found], 'and')
      }
      const constant = source.constants.get(name)
      if (constant !== undefined) {
        const known = dialect.literal(attribute.caseExact ? constant : normalise(constant))
        return test(known, operator, operand, negated)
      }
    }
    const found = inside(attribute, negated, scope, {
      ofElement: (element, _whole, negated) =>
        test(
          spelt((as) => element.plain(as), attribute),
          operator,
          operand,
          negated,
        ),
      ofRoot: (root, keys, negated) =>
        test(
          spelt((as) => dialect.json.value(root, keys, as), attribute),
          operator,
          operand,
          negated,
        ),
    })
    // `ne` also holds where there is nothing to differ from.
    if (operator !== 'ne' || !attribute.multiValued.includes(true)) return found
    return negated
      ? join([found, present(attribute, false, scope)], 'and')
      : join([found, present(attribute, true, scope)], 'or')
  }

  function compareColumn(
    { column, spelling, normalised }: ColumnSource,
    attribute: BoundAttribute,
    operator: CompareOperator,
    operand: Operand,
    negated: boolean,
  ): Condition {
    const plain = sql.ref(column)
    const isText = attribute.type !== 'boolean' && attribute.type !== 'dateTime'
    if (!isText || attribute.caseExact) {
      const exact = testColumn(plain, operator, operand, negated)
      // Only the normalised column is indexed: it narrows, the exact one decides.
      if (normalised === undefined || operator !== 'eq' || negated) return exact
      return join([sql`${sql.ref(normalised)} = ${arg(`${operand.name}Normal`)}`, exact], 'and')
    }
    if (spelling === 'lower') return testColumn(plain, operator, operand, negated)
    return normalised === undefined
      ? test(dialect.normalise(plain), operator, operand, negated)
      : testColumn(sql.ref(normalised), operator, operand, negated)
  }

  /** A range beside `sw` lets an index find the prefix; the function still decides. */
  function testColumn(
    column: Value,
    operator: CompareOperator,
    operand: Operand,
    negated: boolean,
  ): Condition {
    const condition = test(column, operator, operand, negated)
    if (operator !== 'sw' || negated || operand.isEmpty) return condition
    const parts: Condition[] = [sql`${column} >= ${arg(operand.name)}`, condition]
    const end = sql<boolean>`${column} < ${arg(`${operand.name}End`)}`
    return join(operand.hasEnd ? [...parts, end] : parts, 'and')
  }

  const spelt = (read: (as: PlainType) => Value, attribute: BoundAttribute): Value =>
    speltLike(read, attribute, dialect)

  /** One comparison; where it is negated a missing value makes it true instead of NULL. */
  function test(
    left: Value,
    operator: CompareOperator,
    operand: Operand,
    negated: boolean,
  ): Condition {
    const right = sql`${arg(operand.name)}`
    switch (operator) {
      case 'eq':
        // Once, where `is null or <>` would say it twice: what is read out of JSON is long.
        return negated ? sql`${left} is distinct from ${right}` : sql`${left} = ${right}`
      case 'ne':
        return test(left, 'eq', operand, !negated)
      case 'gt':
      case 'ge':
      case 'lt':
      case 'le': {
        const how = sql.raw(symbol[negated ? opposite[operator] : operator])
        return negated
          ? sql`(${left} is null or ${left} ${how} ${right})`
          : sql`${left} ${how} ${right}`
      }
      case 'co':
      case 'sw':
      case 'ew': {
        const found = part(left, operator, operand)
        return negated ? sql`(${left} is null or not ${found})` : found
      }
      default:
        return assertNever(operator)
    }
  }

  function part(left: Value, operator: 'co' | 'sw' | 'ew', operand: Operand): Condition {
    // Every text contains the empty one; the database functions disagree about that.
    if (operand.isEmpty) return sql`(${left} is not null)`
    const right = sql`${arg(operand.name)}`
    switch (operator) {
      case 'co':
        return sql`(${dialect.contains(left, right)})`
      case 'sw':
        return sql`(${dialect.startsWith(left, right)})`
      case 'ew':
        return sql`(${dialect.endsWith(left, right)})`
      default:
        return assertNever(operator)
    }
  }

  function valuePath(
    attribute: BoundAttribute,
    element: BoundNode,
    negated: boolean,
    scope: Scope,
  ): Condition {
    return inside(attribute, negated, scope, {
      ofElement: (source, _whole, negated) =>
        node(element, negated, { root: source.object, element: source }),
      ofRoot(root, keys, negated) {
        // A single complex value is its own only element; without it nothing can match.
        const there = dialect.json.isPresent(root, keys)
        const object = dialect.json.object(root, keys)
        const only: ElementSource = {
          from: sql``,
          object,
          plain: (as) => dialect.json.value(root, keys, as),
          hasValue: dialect.json.isPresent(root, [...keys, 'value']),
          isPresent: there,
          position: sql`0`,
        }
        const matches = node(element, negated, { root: object, element: only })
        return negated ? join([sql`not ${there}`, matches], 'or') : join([there, matches], 'and')
      },
    })
  }

  /** Walks the keys of an attribute and puts `leaf` where they end. */
  function inside(
    attribute: BoundAttribute,
    negated: boolean,
    scope: Scope,
    leaf: Leaf,
  ): Condition {
    const { keys, multiValued } = attribute
    const { element, root } = scope
    if (element !== null) {
      // The elements of a simple attribute are their own `value`.
      return keys.length === 1 && keys[0] === 'value' && multiValued[0] !== true
        ? leaf.ofElement(element, false, negated)
        : descend(root, keys, multiValued, negated, leaf)
    }
    const beside = source.beside.find((b) => b.keys.every((key, i) => keys[i] === key))
    if (beside !== undefined) {
      const at = beside.keys.length
      const outer = beside.elements(dialect, `e${++aliases}`)
      return anyOf(outer, keys.slice(at), multiValued.slice(at), negated, leaf)
    }
    return descend(root, keys, multiValued, negated, leaf)
  }

  function descend(
    root: Value,
    keys: readonly string[],
    many: readonly boolean[],
    negated: boolean,
    leaf: Leaf,
  ): Condition {
    const end = many.indexOf(true) + 1
    return end === 0
      ? leaf.ofRoot(root, keys, negated)
      : exists(root, keys.slice(0, end), keys.slice(end), many.slice(end), negated, leaf)
  }

  function exists(
    root: Value,
    path: readonly string[],
    rest: readonly string[],
    many: readonly boolean[],
    negated: boolean,
    leaf: Leaf,
  ): Condition {
    return anyOf(dialect.json.elements(root, path, `e${++aliases}`), rest, many, negated, leaf)
  }

  /** Any element may match; negated, none may. Below the outermost array nothing is negated. */
  function anyOf(
    element: ElementSource,
    rest: readonly string[],
    many: readonly boolean[],
    negated: boolean,
    leaf: Leaf,
  ): Condition {
    const ownValue = rest.length === 1 && rest[0] === 'value' && many[0] !== true
    const condition =
      rest.length === 0 || ownValue
        ? leaf.ofElement(element, rest.length === 0, false)
        : descend(element.object, rest, many, false, leaf)
    const not = sql.raw(negated ? 'not ' : '')
    return sql`${not}exists (select 1 from ${element.from} where ${condition})`
  }

  return node(filter.root, false, document)
}

/** A value as the filter's own value was normalised when it was bound. */
export function speltLike(
  read: (as: PlainType) => Value,
  attribute: BoundAttribute,
  dialect: Dialect,
): Value {
  switch (attribute.type) {
    case 'boolean':
      return read('flag')
    case 'decimal':
    case 'integer':
      return read('number')
    case 'dateTime':
      return dialect.instant(read('text'))
    case 'string':
    case 'reference':
    case 'binary':
      return attribute.caseExact ? read('text') : dialect.normalise(read('text'))
    default:
      return assertNever(attribute.type)
  }
}

/** The smallest text above all that start with `prefix`, bytewise in UTF-8; null when there is none. */
export function prefixEnd(prefix: string): string | null {
  const points = Array.from(prefix, (c) => c.codePointAt(0)!)
  while (points.length > 0) {
    const last = points.pop()!
    if (last >= 0x10ffff) continue
    // Surrogates have no UTF-8 form.
    const next = last >= 0xd7ff && last < 0xe000 ? 0xe000 : last + 1
    return String.fromCodePoint(...points, next)
  }
  return null
}
