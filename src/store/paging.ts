import { sql, type RawBuilder } from 'kysely'
import { errors } from '../domain/errors.ts'
import { normalise } from '../domain/text.ts'
import type { BoundAttribute } from '../scim/filter.ts'
import type { Dialect } from './dialect.ts'
import { speltLike } from './filter-sql.ts'
import type { FilterSource } from './sources.ts'
import type { Row, SqlValue } from './sql.ts'
import type { Sort } from './store.ts'

/** Characters by which texts are ordered; those that begin alike so far are ordered by id. */
export const sortLengthMax = 256

/** By what a list is ordered before its ids. */
export interface SortKey {
  readonly value: RawBuilder<unknown>
  /** Never null, so that an index in its order serves. */
  readonly required: boolean
  readonly descending: boolean
}

/** Where a page ended: the last row's key, in a list that has one, and its id. */
export interface Position {
  readonly key: SqlValue
  readonly id: string
}

export function sortKey(
  { attribute, descending }: Sort,
  source: FilterSource,
  dialect: Dialect,
): SortKey {
  const name = attribute.keys.join(' ')
  const column = source.columns.get(name)
  if (column !== undefined) {
    const plain = sql.ref(column.column)
    const folds = attribute.type === 'string' && !attribute.caseExact && column.spelling === 'exact'
    const value = !folds
      ? sql`${plain}`
      : column.normalised === undefined
        ? dialect.normalise(plain)
        : sql`${sql.ref(column.normalised)}`
    const required = column.required === true
    return { value: required ? value : cut(value, attribute), required, descending }
  }
  const constant = source.constants.get(name)
  if (constant !== undefined) {
    const value = dialect.literal(attribute.caseExact ? constant : normalise(constant))
    return { value, required: true, descending }
  }
  const value = cut(documentKey(attribute, source, dialect), attribute)
  return { value, required: false, descending }
}

/**
 * A key goes into the cursor, and a cursor into a URL. What is required is bounded where it is
 * written, and cutting it would take its index away.
 */
function cut(value: RawBuilder<unknown>, { type }: BoundAttribute): RawBuilder<unknown> {
  const isText = type === 'string' || type === 'reference' || type === 'binary'
  return isText ? sql`substr(${value}, 1, ${sql.lit(sortLengthMax)})` : value
}

/** The value inside a document; of several the primary one, else the first (RFC 7644 §3.4.2.3). */
function documentKey(
  attribute: BoundAttribute,
  source: FilterSource,
  dialect: Dialect,
): RawBuilder<unknown> {
  const { json } = dialect
  const beside = source.beside.find((b) => b.keys.every((key, i) => attribute.keys[i] === key))
  const skipped = beside?.keys.length ?? 0
  const keys = attribute.keys.slice(skipped)
  const many = attribute.multiValued.slice(skipped)
  const root = json.document(sql.ref('doc'))
  const end = beside === undefined ? many.indexOf(true) + 1 : 0
  if (beside === undefined && end === 0) {
    return sql`${speltLike((as) => json.value(root, keys, as), attribute, dialect)}`
  }
  const rest = keys.slice(end)
  // Several values in each of several: none of them is the one to go by.
  if (many.slice(end).includes(true)) return sql`cast(null as text)`
  const element =
    beside?.elements(dialect, 'sorted') ?? json.elements(root, keys.slice(0, end), 'sorted')
  const isOwnValue = rest.length === 0 || (rest.length === 1 && rest[0] === 'value')
  const value = speltLike(
    (as) => (isOwnValue ? element.plain(as) : json.value(element.object, rest, as)),
    attribute,
    dialect,
  )
  const primary = json.value(element.object, ['primary'], 'flag')
  return sql`(select ${value} from ${element.from} where ${element.isPresent}
    order by coalesce(${primary}, 0) desc, ${element.position} limit 1)`
}

/** The `order by` of a list; `nulls` stands only where there are some: an index may not serve it. */
export function orderBy(
  key: Pick<SortKey, 'required' | 'descending'>,
  value: RawBuilder<unknown>,
  id: RawBuilder<unknown>,
): RawBuilder<unknown> {
  const direction = sql.raw(key.descending ? 'desc' : 'asc')
  const nulls = sql.raw(key.required ? '' : key.descending ? ' nulls first' : ' nulls last')
  return sql`${value} ${direction}${nulls}, ${id} ${direction}`
}

/** What comes after a position in that order. */
export function isAfter(
  { value, required, descending }: SortKey,
  { key, id }: Position,
): RawBuilder<boolean> {
  const beyond = sql.raw(descending ? '<' : '>')
  const laterId = sql`id ${beyond} ${id}`
  if (key === null) {
    return descending
      ? sql`((${value} is null and ${laterId}) or ${value} is not null)`
      : sql`(${value} is null and ${laterId})`
  }
  // The first comparison alone bounds an index.
  const later = sql<boolean>`(${value} ${beyond}= ${key} and (${value} ${beyond} ${key} or ${laterId}))`
  return required || descending ? later : sql`(${later} or ${value} is null)`
}

/** The position of a row; in a list by id that is the id itself. */
export function encodePosition(key: SortKey | null, row: Row): string {
  const id = row['id'] as string
  return key === null ? id : JSON.stringify([row['sort_key'], id])
}

/** @throws invalidValue for a position of another kind of list */
export function decodePosition(key: SortKey | null, after: string): Position {
  if (key === null) return { key: null, id: after }
  const parts = parsed(after)
  if (!Array.isArray(parts) || parts.length !== 2 || typeof parts[1] !== 'string') throw foreign()
  const [value, id] = parts as [unknown, string]
  if (value !== null && typeof value !== 'string' && typeof value !== 'number') throw foreign()
  return { key: value, id }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw foreign()
  }
}

function foreign(): Error {
  return errors.invalidValue({ path: 'cursor', reason: 'belongs to a list in another order.' })
}
