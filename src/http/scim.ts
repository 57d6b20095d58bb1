import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { bulkBytesMax } from '../scim/bulk.ts'
import { does } from '../scim/dialects.ts'
import type { Projection } from '../scim/render.ts'
import { locationOf, weakTag } from '../scim/render.ts'
import type { Authenticate } from './auth.ts'
import { toAppError } from './errors.ts'
import { noteBulkWrites } from './failure-log.ts'
import { performBulk } from './scim-bulk.ts'
import { credentialEndpoint } from './scim-credentials.ts'
import { entitlementEndpoint } from './scim-entitlements.ts'
import { discoveryRoutes } from './scim-discovery.ts'
import type { ScimCall, ScimEndpoint, ScimMethod } from './scim-endpoint.ts'
import { tagListed } from './scim-endpoint.ts'
import { groupEndpoint } from './scim-groups.ts'
import type { SearchRequest } from './scim-list.ts'
import {
  bodyOf,
  projectionOf,
  queryOf,
  searchOfBody,
  searchOfQuery,
  searchPage,
  showsUnder,
} from './scim-list.ts'
import { userEndpoint } from './scim-users.ts'
import type { HttpHost } from './server.ts'

const mediaType = 'application/scim+json'
/** More ids than this would not fit into what HTTP clients read of headers. */
const namedOperationsMax = 100

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

/** What can be written through SCIM, also by what runs a request again. */
export function endpointsOf(host: HttpHost, base: () => string) {
  const users = userEndpoint(host, base)
  const endpoints: readonly ScimEndpoint[] = [
    users,
    groupEndpoint(host, base),
    credentialEndpoint(host, base),
  ]
  return { users, endpoints }
}

/** The SCIM 2.0 endpoints (RFC 7644 §3.2): each route is one operation of a resource type. */
export function scimRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const base = (): string => `${host.baseUrl()}/scim/v2`
  const { users, endpoints } = endpointsOf(host, base)
  /** Of files: neither in a search over everything nor in a bulk. */
  const apart = entitlementEndpoint(host)

  const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id
  /** The person that the client stands for (RFC 7644 §3.11). */
  const ownId = async (request: FastifyRequest): Promise<string> => {
    const { client } = await authenticate(request)
    if (client.person === null) throw errors.noPerson({ client: client.name })
    return client.person
  }

  const one =
    (
      endpoint: ScimEndpoint,
      target: (request: FastifyRequest) => string | null | Promise<string | null>,
    ): Handler =>
    async (request, reply) => {
      const caller = await authenticate(request)
      const projection = answeredBy(endpoint, request, caller)
      // A HEAD is a GET of which the framework leaves the body out (RFC 9110 §9.3.2).
      const method = request.method === 'HEAD' ? 'GET' : (request.method as ScimMethod)
      const known = method === 'GET' ? request.headers['if-none-match'] : undefined
      const call: ScimCall = {
        caller,
        method,
        id: await target(request),
        data: request.body,
        version: request.headers['if-match'] ?? null,
        shows: showsUnder(projection, endpoint.schema),
        bodyWanted: wantsBody(request, projection),
      }
      if (known !== undefined) {
        // What is dear to read is read only when the client does not have it.
        const { document } = await endpoint.perform({ ...call, shows: () => false })
        if (document !== null && tagListed(known, document.etag)) {
          const location = locationOf({ ...document, baseUrl: base() })
          void reply.headers({ etag: weakTag(document.etag), 'content-location': location })
          return reply.status(304).send()
        }
      }
      const { status, document, operations } = await endpoint.perform(call)
      nameOperations(reply, operations)
      if (document === null) return reply.status(status).send()
      if (status === 204) return reply.status(204).header('etag', weakTag(document.etag)).send()
      const location = locationOf({ ...document, baseUrl: base() })
      void reply.headers({ etag: weakTag(document.etag), 'content-location': location })
      if (status === 201 || request.routeOptions.url?.endsWith('/Me')) {
        void reply.header('location', location)
      }
      const body = bodyOf(document, projection, endpoint.schema, base())
      return reply.status(status).type(mediaType).send(body)
    }

  const many =
    (over: readonly ScimEndpoint[]): Handler =>
    async (request, reply) => {
      const caller = await authenticate(request)
      const search: SearchRequest =
        request.method === 'POST'
          ? searchOfBody(request.body, caller)
          : searchOfQuery(queryOf(request))
      return reply.type(mediaType).send(await searchPage(host, caller, over, search, base()))
    }

  const bulk: Handler = async (request, reply) => {
    const { body, operations, writes } = await performBulk({
      caller: await authenticate(request),
      endpoints,
      body: request.body,
      baseUrl: base(),
      toError: (error) => {
        const known = toAppError(error, request)
        if (known.code === 'internal') host.log(failureOf(request, error))
        return known
      },
    })
    noteBulkWrites(request, writes)
    nameOperations(reply, operations)
    return reply.type(mediaType).send(body)
  }

  return async (app) => {
    for (const endpoint of [...endpoints, apart]) {
      const path = endpoint.schema.endpoint
      app.get(path, many([endpoint]))
      app.post(
        path,
        one(endpoint, () => null),
      )
      app.post(`${path}/.search`, { config: { reads: true } }, many([endpoint]))
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
        app.route({ method, url: `${path}/:id`, handler: one(endpoint, idOf) })
      }
    }
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
      app.route({ method, url: '/Me', handler: one(users, ownId) })
    }
    app.get('/', many(endpoints))
    app.post('/.search', { config: { reads: true } }, many(endpoints))
    app.post('/Bulk', { bodyLimit: bulkBytesMax }, bulk)
    discoveryRoutes(app, base)
  }
}

/** What an answer shows: what was asked for, and of a changed group not its 50 000 members. */
function answeredBy(
  { schema }: ScimEndpoint,
  request: FastifyRequest,
  { client }: Caller,
): Projection | null {
  const projection = projectionOf(queryOf(request))
  const isChange = request.method === 'PATCH' && schema.type === 'Group'
  if (!isChange || projection?.attributes || !does(client.dialect, 'leavesMembersOut')) {
    return projection
  }
  return { excludedAttributes: [...(projection?.excludedAttributes ?? []), 'members'] }
}

/** A client that names attributes or a JSON type expects an answer in it (RFC 7644 §3.5.2). */
function wantsBody(request: FastifyRequest, projection: Projection | null): boolean {
  const { accept } = request.headers
  if (projection?.attributes) return true
  return accept !== undefined && /[/+]json\b|application\/\*/i.test(accept)
}

/** Tells the client which operations its write started (contract §3). */
function nameOperations(reply: FastifyReply, operations: readonly Operation[]): void {
  if (operations.length === 0) return
  const named = operations.slice(0, namedOperationsMax)
  void reply.header('custody-operation', named.map((o) => o.id).join(', '))
}

function failureOf(request: FastifyRequest, error: unknown) {
  return {
    level: 'error',
    request: request.id,
    method: request.method,
    route: request.routeOptions.url ?? 'unknown',
    status: 500,
    code: 'internal',
    milliseconds: 0,
    error,
  } as const
}
