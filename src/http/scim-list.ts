import type { FastifyRequest } from 'fastify'
import { AppError, errors } from '../domain/errors.ts'
import type { Json } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { isUrn } from '../scim/bulk.ts'
import type { CursorBinding, Position } from '../scim/cursor.ts'
import { openCursor, sealCursor } from '../scim/cursor.ts'
import { does } from '../scim/dialects.ts'
import { pageMax, pageStandard } from '../scim/discovery.ts'
import type { BoundFilter, FilterNode } from '../scim/filter.ts'
import { bindFilter, bindSort, parseFilter } from '../scim/filter.ts'
import type { Projection } from '../scim/render.ts'
import { finishDocument, listResponse, project } from '../scim/render.ts'
import type { ResourceSchema } from '../scim/schema.ts'
import { resolvePath, withoutFilter } from '../scim/schema.ts'
import type { ListQuery, Page, Sort, StoredDocument } from '../store/store.ts'
import type { ScimEndpoint, Shows } from './scim-endpoint.ts'
import { parsedDocument } from './scim-endpoint.ts'
import { mergedPage } from './scim-merge.ts'
import type { HttpHost } from './server.ts'

export const searchRequestUrn = 'urn:ietf:params:scim:api:messages:2.0:SearchRequest'

/** What a list is asked for, from a query string or from the body of a `.search`. */
export interface SearchRequest {
  readonly filter: string | null
  readonly projection: Projection | null
  readonly sortBy: string | null
  readonly sortOrder: string | null
  readonly startIndex: string | null
  readonly count: string | null
  /** Null = by index; empty = the first page by cursor (RFC 9865 §2). */
  readonly cursor: string | null
}

/**
 * The parameters of a query by lower-case name: some clients send `startindex`, and what nobody
 * knows (`aadOptscim062020`) is nobody's business.
 * @throws invalidValue when two differ in case only
 */
export function queryOf(request: FastifyRequest): ReadonlyMap<string, string> {
  const query = (request.query ?? {}) as Readonly<Record<string, string>>
  const found = new Map<string, string>()
  for (const [name, value] of Object.entries(query)) {
    const lower = name.toLowerCase()
    if (found.has(lower)) {
      throw errors.invalidValue({ path: lower, reason: 'is given more than once; give it once.' })
    }
    found.set(lower, value)
  }
  return found
}

export function searchOfQuery(query: ReadonlyMap<string, string>): SearchRequest {
  const text = (name: string): string | null => query.get(name) || null
  return {
    filter: text('filter'),
    projection: projectionOf(query),
    sortBy: text('sortby'),
    sortOrder: text('sortorder'),
    startIndex: text('startindex'),
    count: text('count'),
    cursor: query.get('cursor') ?? null,
  }
}

/** @throws invalidSyntax, invalidValue, notImplemented (RFC 7644 §3.4.3) */
export function searchOfBody(body: unknown, { client }: Caller): SearchRequest {
  if (!isJsonObject(body))
    throw errors.invalidSyntax({ reason: 'The body must be one JSON object.' })
  const members = new Map(Object.entries(body).map(([key, value]) => [key.toLowerCase(), value]))
  const schemas = members.get('schemas')
  const listed =
    Array.isArray(schemas) &&
    (schemas as readonly Json[]).some((urn) => isUrn(urn, searchRequestUrn))
  if (!listed && !does(client.dialect, 'repairsSchemas')) {
    throw errors.invalidSyntax({ reason: `schemas must be a list with "${searchRequestUrn}".` })
  }
  if (members.has('filter') && !does(client.dialect, 'searchesByPost')) {
    throw errors.notImplemented({ what: 'A filter in POST .search, for clients of this dialect,' })
  }
  const query = new Map<string, string>()
  for (const name of [
    'filter',
    'attributes',
    'excludedattributes',
    'sortby',
    'sortorder',
    'startindex',
    'count',
    'cursor',
  ]) {
    const value = members.get(name) ?? null
    if (value !== null) query.set(name, plain(value, name))
  }
  return searchOfQuery(query)
}

function plain(value: Json, path: string): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  const items = Array.isArray(value) ? (value as readonly Json[]) : []
  if (Array.isArray(value) && items.every((item) => typeof item === 'string')) return items.join()
  throw errors.invalidValue({ path, reason: 'has the wrong type.' })
}

/** Names in `attributes`; each is looked up in each resource of the page. */
export const projectedMax = 200

/** @throws tooMany, invalidValue */
export function projectionOf(query: ReadonlyMap<string, string>): Projection | null {
  const names = (name: string): string[] | undefined => {
    const parts = (query.get(name) ?? '').split(',', projectedMax + 1)
    if (parts.length > projectedMax) {
      throw errors.tooMany({ reason: `${name} takes at most ${projectedMax} names.` })
    }
    const named = parts.map((part) => part.trim()).filter((part) => part !== '')
    return named.length > 0 ? named : undefined
  }
  const attributes = names('attributes')
  const excludedAttributes = names('excludedattributes')
  // Said before anything is written: a refused request leaves no trace.
  if (attributes && excludedAttributes) {
    throw errors.invalidValue({
      path: 'excludedAttributes',
      reason: 'cannot be used together with attributes.',
    })
  }
  return attributes || excludedAttributes ? { attributes, excludedAttributes } : null
}

/** Which attributes an answer under this projection may show; sub-attributes count for theirs. */
export function showsUnder(projection: Projection | null, schema: ResourceSchema): Shows {
  if (!projection) return () => true
  const names = (list: readonly string[] | undefined) =>
    (list ?? []).flatMap((name) => {
      const found = resolvePath(schema, withoutFilter(name, ''), true)
      return found.found ? [found] : []
    })
  const { attributes, excludedAttributes } = projection
  if (attributes && attributes.length > 0) {
    const wanted = names(attributes)
    return (name) => wanted.some((found) => found.attribute?.name === name)
  }
  const unwanted = names(excludedAttributes)
  return (name) => !unwanted.some((found) => found.attribute?.name === name && found.sub === null)
}

/** The stored text untouched, unless the client asked for parts of it. */
export function bodyOf(
  document: StoredDocument,
  projection: Projection | null,
  schema: ResourceSchema,
  baseUrl: string,
): string {
  return projection
    ? JSON.stringify(project(parsedDocument(document, baseUrl), projection, schema))
    : finishDocument({ ...document, baseUrl })
}

export interface Found {
  readonly endpoint: ScimEndpoint
  readonly document: StoredDocument
}

/** What is listed, in which order. */
export interface ListPlan {
  readonly endpoints: readonly ScimEndpoint[]
  readonly order: Order | null
  /** Reads from the list of one endpoint, under the filter and the caller's scope. */
  read(endpoint: ScimEndpoint, part: ListPart): Promise<Page<StoredDocument>>
}

export type ListPart = Pick<ListQuery, 'sort' | 'startIndex' | 'after' | 'count'>

/** By which attribute; the types that do not have it are null. */
export interface Order {
  readonly sorts: ReadonlyMap<ScimEndpoint, Sort | null>
  readonly descending: boolean
}

export interface PageRange {
  /** Null = by index. */
  readonly position: Position | null
  readonly startIndex: number
  readonly count: number
}

export interface FoundPage {
  readonly total: number
  readonly found: readonly Found[]
  /** Null when this page is the last one, or holds nothing because nothing was asked for. */
  readonly next: Position | null
}

/**
 * One page over one resource type or, at the root, over all of them: in turn, or in one order.
 * @returns the text of a ListResponse
 * @throws invalidFilter, invalidValue, invalidCount, invalidCursor, expiredCursor, tooMany
 */
export async function searchPage(
  host: HttpHost,
  caller: Caller,
  endpoints: readonly ScimEndpoint[],
  search: SearchRequest,
  baseUrl: string,
): Promise<string> {
  const byCursor = search.cursor !== null
  const count = countOf(search, byCursor)
  const startIndex = Math.max(1, wholeNumber(search.startIndex, 'startIndex', 1))
  if (byCursor && search.startIndex !== null) {
    throw errors.invalidValue({
      path: 'startIndex',
      reason: 'cannot be used together with cursor.',
    })
  }
  const now = host.clock.now()
  const binding = bindingOf(caller, endpoints, search, count)
  const position = search.cursor
    ? openCursor(host.pepper, binding, search.cursor, now)
    : byCursor
      ? endpoints.map(({ schema }) => ({ endpoint: schema.endpoint, after: '' }))
      : null
  const filters = filtersOf(search.filter, endpoints, caller)
  const order = orderOf(search, endpoints, caller)
  const visibility = host.engine.visibility(caller)
  const plan: ListPlan = {
    endpoints: endpoints.filter((endpoint) => filters.has(endpoint)),
    order,
    read: (endpoint, part) =>
      endpoint.list(
        { tenant: caller.tenant, visibility, filter: filters.get(endpoint) ?? null, ...part },
        showsUnder(search.projection, endpoint.schema),
      ),
  }
  const read = order !== null && endpoints.length > 1 ? mergedPage : pageInTurn
  const { total, found, next } = await read(plan, { position, startIndex, count })
  const nextCursor = byCursor && next ? sealCursor(host.pepper, binding, next, now) : null
  return listResponse({
    total,
    startIndex: byCursor ? null : startIndex,
    nextCursor,
    documents: found.map(({ endpoint, document }) =>
      bodyOf(document, search.projection, endpoint.schema, baseUrl),
    ),
  })
}

async function pageInTurn(plan: ListPlan, page: PageRange): Promise<FoundPage> {
  const { endpoints, order } = plan
  const at = page.position?.[0]
  const start = endpoints.findIndex((e) => e.schema.endpoint === at?.endpoint)
  const found: Found[] = []
  let total = 0
  let next: Position | null = null
  let skip = page.position === null ? page.startIndex - 1 : 0
  for (const [index, endpoint] of endpoints.entries()) {
    // A part may end before its count does.
    const passed: boolean = next !== null || (page.position !== null && index < start)
    const count: number = passed ? 0 : page.count - found.length
    const part: Page<StoredDocument> = await plan.read(endpoint, {
      sort: order?.sorts.get(endpoint) ?? null,
      startIndex: skip + 1,
      after: index === start ? at?.after || null : null,
      count,
    })
    if (page.count > 0 && !passed && next === null) {
      // A type that begins only on the next page is known by its total.
      const begins = count === 0 && part.total > 0
      const after = begins ? '' : part.next
      if (after !== null) next = [{ endpoint: endpoint.schema.endpoint, after }]
    }
    for (const document of part.rows) found.push({ endpoint, document })
    total += part.total
    skip = Math.max(0, skip - part.total)
  }
  return { total, found, next }
}

/**
 * The order that `sortBy` and `sortOrder` ask for (RFC 7644 §3.4.2.3). At the root one type has to
 * know the attribute; in the others it is missing.
 */
function orderOf(
  { sortBy, sortOrder }: SearchRequest,
  endpoints: readonly ScimEndpoint[],
  caller: Caller,
): Order | null {
  const direction = sortOrder?.toLowerCase() ?? 'ascending'
  if (direction !== 'ascending' && direction !== 'descending') {
    throw errors.invalidValue({ path: 'sortOrder', reason: 'must be ascending or descending.' })
  }
  if (sortBy === null) return null
  const { dialect } = caller.client
  const descending = direction === 'descending'
  const sorts = new Map(
    endpoints.map((endpoint) => {
      const attribute = bindSort(sortBy, endpoint.schema, { dialect })
      return [endpoint, attribute && { attribute, descending }]
    }),
  )
  if ([...sorts.values()].some((sort) => sort !== null)) return { sorts, descending }
  if (does(dialect, 'ignoresUnknownOrder')) return null
  throw errors.invalidValue({
    path: 'sortBy',
    reason: `"${sortBy}" is no attribute that can be sorted by; name one with a value of its own.`,
  })
}

/**
 * The filter as each resource type understands it. At the root an attribute need not be known to all
 * types: where it is not, it is missing; a type that cannot make sense of the filter has no match.
 */
function filtersOf(
  text: string | null,
  endpoints: readonly ScimEndpoint[],
  caller: Caller,
): ReadonlyMap<ScimEndpoint, BoundFilter | null> {
  if (text === null) return new Map(endpoints.map((endpoint) => [endpoint, null]))
  const { dialect } = caller.client
  const node = parseFilter(text, dialect)
  const attempts = endpoints.map((endpoint) => attempt(node, endpoint.schema, dialect))
  const refusals = attempts.filter((result) => result instanceof AppError)
  if (refusals.length === endpoints.length) throw refusals[0]!
  const filters = new Map<ScimEndpoint, BoundFilter>()
  for (const [i, endpoint] of endpoints.entries()) {
    const own = attempts[i]!
    const bound = own instanceof AppError ? attempt(node, endpoint.schema, 'lenient') : own
    if (!(bound instanceof AppError)) filters.set(endpoint, bound)
  }
  return filters
}

function attempt(
  node: FilterNode,
  schema: ResourceSchema,
  dialect: Caller['client']['dialect'],
): BoundFilter | AppError {
  try {
    return bindFilter(node, schema, { dialect })
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
}

function bindingOf(
  { client, tenant }: Caller,
  endpoints: readonly ScimEndpoint[],
  { filter, sortBy, sortOrder }: SearchRequest,
  count: number,
): CursorBinding {
  const paths = endpoints.map(({ schema }) => schema.endpoint).join()
  return [tenant, client.id, paths, filter, sortBy, sortOrder, count]
}

function countOf({ count }: SearchRequest, byCursor: boolean): number {
  if (byCursor && count !== null && !/^\d+$/.test(count)) {
    throw errors.invalidPageCount({ name: 'count' })
  }
  return Math.min(Math.max(0, wholeNumber(count, 'count', pageStandard)), pageMax)
}

/** More than any list has. */
const wholeMax = 1e12

function wholeNumber(value: string | null, name: string, missing: number): number {
  if (value === null) return missing
  if (!/^-?\d+$/.test(value)) throw errors.invalidCount({ name })
  // "All there is" may come as the largest integer of 64 bits, which is none here.
  return Math.max(-wholeMax, Math.min(Number(value), wholeMax))
}
