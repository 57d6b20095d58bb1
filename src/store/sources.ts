import { sql } from 'kysely'
import { assertNever } from '../domain/json.ts'
import type { BoundAttribute, BoundFilter, BoundNode, CompareOperator } from '../scim/filter.ts'
import type { Dialect, ElementSource } from './dialect.ts'
import { groupsBeside, membersBeside } from './membership.ts'

/** An attribute that a column answers, so that an index can. */
export interface ColumnSource {
  readonly column: string
  /**
   * `exact` holds the attribute as it is; `lower` only ever holds lower case (ids, states), so a
   * normalised value can be compared with it as it stands.
   */
  readonly spelling: 'exact' | 'lower'
  /** The same attribute normalised, for comparisons that ignore case. */
  readonly normalised?: string
  /**
   * A column that is null in every row looked at, on which the index is partial. The condition is
   * repeated beside the comparison: SQLite looks only there when that stands below an OR.
   */
  readonly partialOn?: string
  /** What an equality finds through an index: a handful of rows, or possibly most; nothing: no index. */
  readonly indexed?: 'few' | 'many'
  /** Never null. */
  readonly required?: true
}

/** A multi-valued attribute kept beside the document, as a column with its array or as rows. */
export interface Beside {
  readonly keys: readonly string[]
  readonly elements: (dialect: Dialect, alias: string) => ElementSource
}

/** Where the attributes of one table's documents are found. */
export interface FilterSource {
  /** By `keys` joined with a space, which no attribute name contains. */
  readonly columns: ReadonlyMap<string, ColumnSource>
  /** Attributes with one value for all rows of the table. */
  readonly constants: ReadonlyMap<string, string>
  readonly beside: readonly Beside[]
}

const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
const lower = (column: string): ColumnSource => ({ column, spelling: 'lower' })
const exact = (column: string): ColumnSource => ({ column, spelling: 'exact' })
const partialOn = 'deleted_at'

export const userSource: FilterSource = {
  columns: new Map<string, ColumnSource>([
    ['id', { ...lower('id'), indexed: 'few', required: true }],
    [
      'userName',
      {
        ...exact('user_name'),
        normalised: 'user_name_norm',
        partialOn,
        indexed: 'few',
        required: true,
      },
    ],
    ['externalId', { ...exact('external_id'), partialOn, indexed: 'few' }],
    ['active', { ...exact('active'), partialOn, indexed: 'many', required: true }],
    ['meta created', { ...exact('created_at'), required: true }],
    ['meta lastModified', { ...exact('modified_at'), required: true }],
    [`${nhi} owner value`, { ...exact('owner_id'), indexed: 'few' }],
    [`${nhi} owner type`, exact('owner_type')],
    [`${nhi} environment`, exact('environment')],
    [`${nhi} expiresAt`, { ...exact('expires_at'), indexed: 'many' }],
    [`${nhi} status`, { ...lower('status'), indexed: 'many' }],
  ]),
  constants: new Map([['meta resourceType', 'User']]),
  beside: [
    {
      keys: [nhi, 'credentials'],
      elements: ({ json }, alias) =>
        json.elements(json.document(sql.ref('credentials')), [], alias),
    },
    groupsBeside,
  ],
}

export const credentialSource: FilterSource = {
  columns: new Map<string, ColumnSource>([
    ['id', { ...lower('id'), indexed: 'few', required: true }],
    ['serviceAccount value', { ...lower('account'), indexed: 'few', required: true }],
    [
      'provider',
      { ...exact('provider'), normalised: 'provider_norm', indexed: 'many', required: true },
    ],
    ['kind', { ...lower('kind'), indexed: 'many', required: true }],
    ['status', { ...lower('status'), indexed: 'many', required: true }],
    ['expiresAt', { ...exact('expires_at'), required: true }],
    ['meta created', { ...exact('created_at'), required: true }],
    ['meta lastModified', { ...exact('updated_at'), required: true }],
  ]),
  constants: new Map([['meta resourceType', 'Credential']]),
  beside: [],
}

export const groupSource: FilterSource = {
  columns: new Map<string, ColumnSource>([
    ['id', { ...lower('id'), indexed: 'few', required: true }],
    [
      'displayName',
      {
        ...exact('display_name'),
        normalised: 'display_name_norm',
        partialOn,
        indexed: 'few',
        required: true,
      },
    ],
    ['externalId', { ...exact('external_id'), partialOn, indexed: 'few' }],
    ['meta created', { ...exact('created_at'), required: true }],
    ['meta lastModified', { ...exact('updated_at'), required: true }],
  ]),
  constants: new Map([['meta resourceType', 'Group']]),
  beside: [membersBeside],
}

/** How many rows a filter makes the database look at, in the worst case, from little to all. */
export type Reach = 'few' | 'many' | 'all'

const order: readonly Reach[] = ['few', 'many', 'all']
const best = (reaches: readonly Reach[]): Reach =>
  order.find((reach) => reaches.includes(reach)) ?? 'all'
const worst = (reaches: readonly Reach[]): Reach =>
  order.findLast((reach) => reaches.includes(reach)) ?? 'few'

export function reachOf(filter: BoundFilter, source: FilterSource): Reach {
  function node(bound: BoundNode, negated: boolean): Reach {
    switch (bound.op) {
      case 'never':
        return negated ? 'all' : 'few'
      case 'not':
        return node(bound.node, !negated)
      case 'and':
      case 'or': {
        const reaches = bound.nodes.map((n) => node(n, negated))
        return (bound.op === 'and') === negated ? worst(reaches) : best(reaches)
      }
      case 'compare':
        return bound.value === null
          ? 'all'
          : compare(bound.attribute, bound.operator, bound.value === '', negated)
      case 'present':
      case 'valuePath':
        return 'all'
      default:
        return assertNever(bound)
    }
  }

  function compare(
    attribute: BoundAttribute,
    operator: CompareOperator,
    isEmpty: boolean,
    negated: boolean,
  ): Reach {
    const column = source.columns.get(attribute.keys.join(' '))
    if (column?.indexed === undefined) return 'all'
    const foldsEachRow =
      !attribute.caseExact && column.spelling === 'exact' && column.normalised === undefined
    if (foldsEachRow) return 'all'
    if (operator === (negated ? 'ne' : 'eq')) return column.indexed
    if (negated || operator === 'ne' || operator === 'co' || operator === 'ew') return 'all'
    if (operator === 'sw' && isEmpty) return 'all'
    // Of an exact comparison only eq is narrowed by the normalised column, which alone is indexed.
    return attribute.caseExact && column.normalised !== undefined ? 'all' : 'many'
  }

  return node(filter.root, false)
}

/** Whether an index serves the filter; one that none serves looks at every resource and may be refused. */
export function isIndexed(
  filter: BoundFilter,
  resource: 'users' | 'credentials' = 'users',
): boolean {
  return reachOf(filter, resource === 'users' ? userSource : credentialSource) !== 'all'
}
