import { errors } from '../domain/errors.ts'
import { compareText } from '../domain/text.ts'
import type { Place } from '../scim/cursor.ts'
import { pageMax } from '../scim/discovery.ts'
import { bindSort } from '../scim/filter.ts'
import type { SortPlace, StoredDocument } from '../store/store.ts'
import { memberBytesMax } from './scim-groups.ts'
import type { ScimEndpoint } from './scim-endpoint.ts'
import type { Found, FoundPage, ListPlan, Order, PageRange } from './scim-list.ts'

/** What is skipped has to be read and merged as well; cursors get to any depth. */
const skipMax = 1_000

/**
 * One page over several resource types in one order: each type gives its rows in that order, the
 * foremost of all is taken. A cursor says where each type goes on.
 * @throws invalidValue for a startIndex too far from the start
 */
export async function mergedPage(plan: ListPlan, page: PageRange): Promise<FoundPage> {
  let skip = page.position === null ? page.startIndex - 1 : 0
  if (skip > skipMax) {
    throw errors.invalidValue({
      path: 'startIndex',
      reason: `of a sorted list over all types reaches ${skipMax + 1}; page by cursor.`,
    })
  }
  const order = plan.order!
  const batch = Math.min(pageMax, skip + page.count)
  const streams: Stream[] = []
  for (const endpoint of plan.endpoints) {
    const place = page.position?.find((p) => p.endpoint === endpoint.schema.endpoint)
    const ended = page.position !== null && place === undefined
    streams.push(await openStream({ plan, endpoint, order, batch }, ended ? null : place))
  }
  const found: Found[] = []
  let bytes = 0
  while (found.length < page.count && bytes <= memberBytesMax) {
    const stream = await foremost(streams, order.descending)
    if (stream === null) break
    const { document } = stream.take()
    if (skip > 0) {
      skip -= 1
      continue
    }
    found.push({ endpoint: stream.endpoint, document })
    bytes += document.members?.length ?? 0
  }
  const places = streams.flatMap((stream) => stream.place() ?? [])
  return {
    total: streams.reduce((sum, stream) => sum + stream.total, 0),
    found,
    next: page.count > 0 && places.length > 0 ? places : null,
  }
}

interface Entry {
  /** Missing when the type does not know the attribute. */
  readonly key: string | number | null
  readonly place: SortPlace
  readonly document: StoredDocument
}

interface Stream {
  readonly endpoint: ScimEndpoint
  readonly total: number
  peek(): Promise<Entry | null>
  take(): Entry
  /** Where the next page finds the rest; null at the end. */
  place(): Place | null
}

async function openStream(
  source: {
    readonly plan: ListPlan
    readonly endpoint: ScimEndpoint
    readonly order: Order
    readonly batch: number
  },
  start: Place | null | undefined,
): Promise<Stream> {
  const { plan, endpoint, order, batch } = source
  const known = order.sorts.get(endpoint) ?? null
  const byId = bindSort('id', endpoint.schema, { dialect: 'rfc' })!
  const sort = known ?? { attribute: byId, descending: order.descending }
  const type = known?.attribute.type
  const isNumber = type === 'integer' || type === 'decimal' || type === 'boolean'
  const read = async (after: string, count: number) => {
    const part = await plan.read(endpoint, {
      sort,
      startIndex: 1,
      after: after || null,
      count,
    })
    const entries = part.rows.map((document, i): Entry => {
      const place = part.places![i]!
      // PostgreSQL gives numbers of any size, which are text here.
      const key = isNumber && place.key !== null ? Number(place.key) : place.key
      return { key: known === null ? null : key, place, document }
    })
    return { total: part.total, entries, next: part.next }
  }
  let after = start?.after ?? ''
  const first = await read(after, start === null ? 0 : batch)
  let waiting = first.entries
  let next = first.next
  return {
    endpoint,
    total: first.total,
    async peek() {
      if (waiting.length === 0 && next !== null) {
        const more = await read(next, batch)
        waiting = more.entries
        next = more.next
      }
      return waiting[0] ?? null
    },
    take() {
      const [entry, ...rest] = waiting
      waiting = rest
      after = entry!.place.after
      return entry!
    },
    place: () =>
      waiting.length === 0 && next === null ? null : { endpoint: endpoint.schema.endpoint, after },
  }
}

async function foremost(streams: readonly Stream[], descending: boolean): Promise<Stream | null> {
  let best: { readonly stream: Stream; readonly entry: Entry } | null = null
  for (const stream of streams) {
    const entry = await stream.peek()
    if (entry === null) continue
    const order = best === null ? -1 : compare(entry, best.entry)
    if (best === null || (descending ? order > 0 : order < 0)) best = { stream, entry }
  }
  return best?.stream ?? null
}

/** Ascending, as the store orders within one type: what is missing comes last. */
function compare(a: Entry, b: Entry): number {
  return compareKeys(a.key, b.key) || compareText(a.document.id, b.document.id)
}

function compareKeys(a: Entry['key'], b: Entry['key']): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null)
  return typeof a === 'number' && typeof b === 'number' ? a - b : compareText(String(a), String(b))
}
