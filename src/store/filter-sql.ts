import { sql, type Expression, type RawBuilder } from 'kysely'
import { assertNever } from '../domain/json.ts'
import { normalise } from '../domain/text.ts'
import type {
  BoundAttribute,
  BoundFilter,
  BoundNode,
  CompareOperator,
  FilterValue,
} from '../scim/filter.ts'
import type { Dialect, ElementSource, PlainType } from './dialect.ts'
import type { ColumnSource, FilterSource } from './sources.ts'

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

const always = sql<boolean>`1 = 1`
const never = sql<boolean>`1 = 0`
const opposite = { eq: 'ne', ne: 'eq', gt: 'le', le: 'gt', lt: 'ge', ge: 'lt' } as const
const symbol = { gt: '>', ge: '>=', lt: '<', le: '<=' } as const

/**
 * Compiles a bound filter to one condition with parameters only.
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
        return compare(bound.attribute, bound.operator, bound.value, negated, scope)
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
    attribute: BoundAttribute,
    operator: CompareOperator,
    value: Exclude<FilterValue, null>,
    negated: boolean,
    scope: Scope,
  ): Condition {
    if (scope.element === null) {
      const name = attribute.keys.join(' ')
      const column = source.columns.get(name)
      if (column !== undefined) {
        const found = compareColumn(column, attribute, operator, value, negated)
        return column.partialOn === undefined || negated
          ? found
          : join([sql`${sql.ref(column.partialOn)} is null`, found], 'and')
      }
      const constant = source.constants.get(name)
      if (constant !== undefined) {
        const known = dialect.literal(attribute.caseExact ? constant : normalise(constant))
        return test(known, operator, value, negated)
      }
    }
    const found = inside(attribute, negated, scope, {
      ofElement: (element, _whole, negated) =>
        test(
          spelt((as) => element.plain(as), attribute),
          operator,
          value,
          negated,
        ),
      ofRoot: (root, keys, negated) =>
        test(
          spelt((as) => dialect.json.value(root, keys, as), attribute),
          operator,
          value,
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
    value: Exclude<FilterValue, null>,
    negated: boolean,
  ): Condition {
    const plain = sql.ref(column)
    const isText = attribute.type !== 'boolean' && attribute.type !== 'dateTime'
    if (!isText || attribute.caseExact) {
      const exact = testColumn(plain, operator, value, negated)
      // Only the normalised column is indexed: it narrows, the exact one decides.
      if (normalised === undefined || operator !== 'eq' || negated) return exact
      return join([sql`${sql.ref(normalised)} = ${normalise(String(value))}`, exact], 'and')
    }
    if (spelling === 'lower') return testColumn(plain, operator, value, negated)
    return normalised === undefined
      ? test(dialect.normalise(plain), operator, value, negated)
      : testColumn(sql.ref(normalised), operator, value, negated)
  }

  /** A range beside `sw` lets an index find the prefix; the function still decides. */
  function testColumn(
    column: Value,
    operator: CompareOperator,
    value: Exclude<FilterValue, null>,
    negated: boolean,
  ): Condition {
    const condition = test(column, operator, value, negated)
    if (operator !== 'sw' || negated || value === '') return condition
    const end = prefixEnd(String(value))
    const parts: Condition[] = [sql`${column} >= ${value}`, condition]
    return join(end === null ? parts : [...parts, sql`${column} < ${end}`], 'and')
  }

  const spelt = (read: (as: PlainType) => Value, attribute: BoundAttribute): Value =>
    speltLike(read, attribute, dialect)

  /** One comparison; where it is negated a missing value makes it true instead of NULL. */
  function test(
    left: Value,
    operator: CompareOperator,
    value: Exclude<FilterValue, null>,
    negated: boolean,
  ): Condition {
    const right = sql`${typeof value === 'boolean' ? Number(value) : value}`
    switch (operator) {
      case 'eq':
        return negated ? sql`(${left} is null or ${left} <> ${right})` : sql`${left} = ${right}`
      case 'ne':
        return test(left, 'eq', value, !negated)
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
        const found = part(left, operator, String(value))
        return negated ? sql`(${left} is null or not ${found})` : found
      }
      default:
        return assertNever(operator)
    }
  }

  function part(left: Value, operator: 'co' | 'sw' | 'ew', value: string): Condition {
    // Every text contains the empty one; the database functions disagree about that.
    if (value === '') return sql`(${left} is not null)`
    const right = sql`${value}`
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
