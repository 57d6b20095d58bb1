import { createHash } from 'node:crypto'
import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import { formatDuration } from '../domain/time.ts'
import { matchFilter } from '../scim/filter.ts'
import { entitlementSchema, entitlementUrn } from '../scim/schema.ts'
import type { Page, Sort, StoredDocument } from '../store/store.ts'
import type { ScimEndpoint } from './scim-endpoint.ts'
import type { HttpHost } from './server.ts'

/** The request vocabulary as resources, by name; files say what they are, so none is written here. */
export function entitlementEndpoint(host: HttpHost): ScimEndpoint {
  const { engine } = host
  // Files have no history that would be worth a date of its own.
  const since = host.clock.now()

  const all = (): readonly { readonly body: JsonObject; readonly document: StoredDocument }[] =>
    engine
      .entitlements()
      .map((template) => {
        const { name, longestLife, environments, groups, ...rest } = template
        const body: JsonObject = {
          schemas: [entitlementUrn],
          id: name,
          name,
          description: rest.description,
          provider: rest.provider,
          kind: rest.kind,
          scopes: rest.scopes,
          ...(environments.length > 0 ? { environments } : {}),
          ...(groups.length > 0 ? { groups } : {}),
          ...(longestLife === null ? {} : { longestLife: formatDuration(longestLife) }),
        }
        const text = JSON.stringify(body)
        const etag = createHash('sha256').update(text).digest('hex').slice(0, 12)
        const document: StoredDocument = {
          id: name,
          type: 'entitlement',
          text,
          credentials: null,
          createdAt: since,
          updatedAt: since,
          etag,
        }
        return { body, document }
      })
      .toSorted((a, b) => compare(a.document.id, b.document.id))

  return {
    schema: entitlementSchema,
    async list({
      visibility,
      filter,
      sort,
      after,
      startIndex,
      count,
    }): Promise<Page<StoredDocument>> {
      // Whoever sees no accounts has nothing to ask for.
      const seen = visibility.accounts === 'none' ? [] : all()
      const found = filter ? seen.filter(({ body }) => matchFilter(filter, body)) : seen
      const sorted = sort ? found.toSorted((a, b) => bySort(sort, a.body, b.body)) : found
      const from = after
        ? sorted.findIndex(({ document }) => document.id === after) + 1
        : startIndex - 1
      const rows = sorted.slice(from, from + count).map(({ document }) => document)
      const isLast = count === 0 || from + count >= sorted.length
      return { total: sorted.length, rows, next: isLast ? null : (rows.at(-1)?.id ?? null) }
    },
    async perform({ caller, method, id }) {
      if (method !== 'GET') throw errors.methodNotAllowed({ method, allow: 'GET' })
      const isBlind = engine.visibility(caller).accounts === 'none'
      const found = isBlind ? undefined : all().find(({ document }) => document.id === id)
      if (!found) throw errors.notFound({ what: 'Entitlement', id: id ?? '' })
      return { status: 200, document: found.document, operations: [] }
    },
  }
}

function bySort({ attribute, descending }: Sort, a: JsonObject, b: JsonObject): number {
  const value = (body: JsonObject): string => {
    const found = body[attribute.keys[0]!]
    const first = Array.isArray(found) ? (found as readonly unknown[])[0] : found
    const text = typeof first === 'string' ? first : ''
    return attribute.caseExact ? text : text.toLowerCase()
  }
  return compare(value(a), value(b)) * (descending ? -1 : 1)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
