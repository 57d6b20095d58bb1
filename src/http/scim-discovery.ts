import type { FastifyInstance, FastifyRequest } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import { resourceTypes, schemas, serviceProviderConfig } from '../scim/discovery.ts'
import { listResponse } from '../scim/render.ts'
import { queryOf } from './scim-list.ts'

const mediaType = 'application/scim+json'

/** Public (RFC 7644 §4): a client has to be able to learn how to authenticate. */
export function discoveryRoutes(app: FastifyInstance, base: () => string): void {
  const byId = (items: readonly JsonObject[], id: string, what: string): JsonObject => {
    const found = items.find((item) => (item['id'] as string).toLowerCase() === id.toLowerCase())
    if (!found) throw errors.notFound({ what, id })
    return found
  }
  const listOf = (items: readonly JsonObject[]): string =>
    listResponse({
      total: items.length,
      startIndex: 1,
      documents: items.map((item) => JSON.stringify(item)),
    })
  const get = (path: string, answer: (request: FastifyRequest) => string): void => {
    app.get(path, { config: { open: true } }, (request, reply) => {
      if (queryOf(request).has('filter')) {
        throw errors.forbidden({
          action: 'filter discovery endpoints',
          role: 'any',
          reason: 'RFC 7644 section 4 forbids it; leave the filter out.',
        })
      }
      return reply.type(mediaType).send(answer(request))
    })
    app.route({
      config: { open: true },
      method: ['POST', 'PUT', 'PATCH', 'DELETE'],
      url: path,
      handler: (request) => {
        throw errors.methodNotAllowed({ method: request.method, allow: 'GET' })
      },
    })
  }
  const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id
  get('/ServiceProviderConfig', () => JSON.stringify(serviceProviderConfig(base())))
  get('/ResourceTypes', () => listOf(resourceTypes(base())))
  get('/ResourceTypes/:id', (request) =>
    JSON.stringify(byId(resourceTypes(base()), idOf(request), 'ResourceType')),
  )
  get('/Schemas', () => listOf(schemas(base())))
  get('/Schemas/:id', (request) => JSON.stringify(byId(schemas(base()), idOf(request), 'Schema')))
}
