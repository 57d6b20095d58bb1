import type { FastifyPluginAsync } from 'fastify'
import { accountTransitions } from '../domain/account.ts'
import { credentialTransitions } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import { operationTransitions } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { parseInstant } from '../domain/time.ts'
import type { Caller } from '../lifecycle/engine.ts'
import type { AccountQuery } from '../store/store.ts'
import type { Authenticate } from './auth.ts'
import { orNull } from './errors.ts'
import { pageOf } from './fields.ts'
import type { HttpHost } from './server.ts'
import { walk } from './walk.ts'
import { accountRow, credentialView, operationView, ownerView, transferView } from './views.ts'

type Parameters = Readonly<Record<string, string | undefined>>
type SeenBy = NonNullable<AccountQuery['seenBy']>

/** Characters of a name that begin it. */
const prefixMax = 128

/** What the console and scripts page through. Each answers `{ items, cursor }`; null = the end. */
export function listingRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store } = host

  return async (app) => {
    app.get('/accounts', async (request) => {
      const caller = await authenticate(request)
      const query = request.query as Parameters
      const page = pageOf(query)
      const seen = seenBy(caller)
      if (seen === 'nothing') return { items: [], cursor: null }
      const rows = await store.read.accountsWhere({
        tenant: caller.tenant,
        ...seen,
        ...given('owner', query['owner']),
        ...given('status', oneOf(query, 'status', accountStatuses)),
        ...given('prefix', prefixOf(query)),
        ...given('expiresFrom', dateOf(query, 'expiresAfter')),
        ...given('expiresBefore', dateOf(query, 'expiresBefore')),
        ...page,
      })
      return { items: rows.map(accountRow), cursor: cursorOf(rows, page.limit) }
    })

    app.get('/transfers', async (request) => {
      const caller = await authenticate(request)
      const seen = seenBy(caller)
      if (seen === 'nothing') return { items: [], cursor: null }
      const { tenant } = caller
      return walk(
        request.query,
        (after, limit) =>
          store.read.accountsWhere({ tenant, ...seen, transfers: true, after, limit }),
        async (row) => (row.deletedAt === null ? transferView(row) : null),
      )
    })

    app.get('/credentials', async (request) => {
      const caller = await authenticate(request)
      const query = request.query as Parameters
      const page = pageOf(query)
      const seen = seenBy(caller)
      if (seen === 'nothing') return { items: [], cursor: null }
      const rows = await store.read.credentialsWhere({
        tenant: caller.tenant,
        ...seen,
        ...given('account', query['account']),
        ...given('status', oneOf(query, 'status', credentialStatuses)),
        ...page,
      })
      return {
        items: rows.map((row) => credentialView(row, null)),
        cursor: cursorOf(rows, page.limit),
      }
    })

    app.get('/owners', async (request) => {
      const caller = await authenticate(request)
      const page = pageOf(request.query)
      const { people } = engine.visibility(caller)
      if (people === 'none') return { items: [], cursor: null }
      const rows = await store.read.peopleWhere({
        tenant: caller.tenant,
        ...(people === 'all' ? {} : people),
        ...given('prefix', prefixOf(request.query as Parameters)),
        ...page,
      })
      return { items: rows.map(ownerView), cursor: cursorOf(rows, page.limit) }
    })

    app.get('/operations', async (request) => {
      const caller = await authenticate(request)
      const query = request.query as Parameters
      return walk(
        query,
        (after, limit) =>
          store.read.operations({
            tenant: caller.tenant,
            ...given('subject', query['subject']),
            ...given('cause', query['cause']),
            ...given('status', oneOf(query, 'status', operationStatuses)),
            after,
            limit,
          }),
        async (row) =>
          (await orNull(engine.operation(caller, row.id))) ? operationView(row) : null,
      )
    })
  }

  /** By what somebody sees accounts, as a query; a role that sees all needs none. */
  function seenBy(caller: Caller): { readonly seenBy?: SeenBy } | 'nothing' {
    const { accounts } = engine.visibility(caller)
    if (accounts === 'all') return {}
    if (accounts === 'none') return 'nothing'
    // Whoever is nominated has to see what for.
    return { seenBy: { ...accounts, nominated: caller.client.role === 'owner' } }
  }
}

const namesOf = <T extends string>(of: Readonly<Record<T, unknown>>) => Object.keys(of) as T[]
const accountStatuses = namesOf(accountTransitions)
const credentialStatuses = namesOf(credentialTransitions)
const operationStatuses = namesOf(operationTransitions)

function cursorOf(rows: readonly { readonly id: string }[], limit: number): string | null {
  return rows.length === limit ? (rows.at(-1)?.id ?? null) : null
}

function given<K extends string, V>(name: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [P in K]?: V }
}

/** @throws invalidValue: a misspelt state would list nothing, as if there were nothing */
function oneOf<T extends string>(
  query: Parameters,
  name: string,
  known: readonly T[],
): T | undefined {
  const value = query[name]
  if (value === undefined) return undefined
  const found = known.find((k) => k === value)
  if (found === undefined) {
    const reason = `"${value.slice(0, 64)}" is not one of ${known.join(', ')}.`
    throw errors.invalidValue({ path: name, reason })
  }
  return found
}

/** @throws invalidValue */
function prefixOf({ q }: Parameters): string | undefined {
  if (q === undefined || q === '') return undefined
  if (q.length > prefixMax) {
    const reason = `must be at most ${prefixMax} characters of the beginning of a name.`
    throw errors.invalidValue({ path: 'q', reason })
  }
  return q
}

/** A day stands for its first moment, in UTC. @throws invalidValue */
function dateOf(query: Parameters, name: string): Instant | undefined {
  const value = query[name]
  if (value === undefined) return undefined
  const at = parseInstant(/^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T00:00:00Z` : value)
  if (at === null) {
    const reason = 'must be a date such as 2027-01-31 or 2027-01-31T00:00:00Z.'
    throw errors.invalidValue({ path: name, reason })
  }
  return at
}
