import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Client } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { ClientId } from '../domain/ids.ts'
import type { AttributeSighting } from '../domain/ledger.ts'
import type { Instant } from '../domain/time.ts'
import type { ResourceSchema } from '../scim/schema.ts'
import { resourceSchemas, userSchema } from '../scim/schema.ts'
import type { Sighting } from '../scim/sightings.ts'
import {
  bulkParts,
  expectedAt,
  neverSent,
  patchSightingsOf,
  sightingsOf,
  treatmentOf,
} from '../scim/sightings.ts'
import type { Authenticate } from './auth.ts'
import { maskText } from './mask.ts'
import type { RequestLog } from './request-log.ts'
import type { HttpHost } from './server.ts'

/** Names no schema knows, per client: one that makes them up must not fill the table. */
const unknownNamesMax = 200
/** Of a Bulk request this many operations are looked at. */
const bulkPartsMax = 100
/** Attributes counted of one request; a Bulk may name 100 000. */
const countedMax = 5_000
const tooManyNames = '(more names)'

/** Counts in memory what requests carry until the request log writes it: one row per form, not per request. */
export class Sightings {
  #counted = new Map<string, AttributeSighting>()
  readonly #unknown = new Map<string, Set<string>>()

  add(client: Client, request: FastifyRequest, at: Instant): void {
    const { body, method } = request
    if (body === undefined || body === null) return
    const route = (request.routeOptions.url ?? '').replace(/^\/scim(?:\/v2)?/, '')
    if (route === '/Bulk') {
      let left = countedMax
      for (const part of bulkParts(body).slice(0, bulkPartsMax)) {
        left -= this.#addOne(client, part.method, part.path, part.data, at)
        if (left <= 0) break
      }
    } else if (!route.endsWith('/.search')) this.#addOne(client, method, route, body, at)
  }

  /** What was counted since the last time. */
  take(): readonly AttributeSighting[] {
    const counted = [...this.#counted.values()]
    this.#counted = new Map()
    return counted
  }

  /** @returns how many attributes it saw */
  #addOne(client: Client, method: string, path: string, body: unknown, at: Instant): number {
    const schema = schemaOf(path)
    if (!schema) return 0
    if (method === 'PATCH') {
      const seen = patchSightingsOf(body, schema)
      for (const sighting of seen) {
        const operation = `PATCH ${sighting.op}${sighting.hasPath ? '' : ' without path'}`
        this.#count(client, schema, sighting, operation, at)
      }
      return seen.length
    }
    if (method !== 'POST' && method !== 'PUT') return 0
    const seen = sightingsOf(body, schema)
    for (const sighting of seen) this.#count(client, schema, sighting, method, at)
    return seen.length
  }

  #count(
    { id, tenant }: Client,
    { type: resource }: ResourceSchema,
    sighting: Sighting,
    operation: string,
    at: Instant,
  ): void {
    const path = sighting.known ? sighting.path : this.#nameOf(id, sighting.path)
    const { form } = sighting
    const key = JSON.stringify([id, resource, path, form])
    const before = this.#counted.get(key)
    this.#counted.set(key, {
      tenant,
      client: id,
      resource,
      path,
      form,
      count: (before?.count ?? 0) + 1,
      firstAt: before?.firstAt ?? at,
      lastAt: at,
      operation,
    })
  }

  /** A name as sent, unless it is none or may be a secret in the wrong place. */
  #nameOf(client: ClientId, sent: string): string {
    const name = /^[A-Za-z$][\w$.:[\]-]{0,119}$/.test(sent) ? maskText(sent) : '(no name)'
    let names = this.#unknown.get(client)
    if (!names) this.#unknown.set(client, (names = new Set()))
    if (names.size < unknownNamesMax) names.add(name)
    return names.has(name) ? name : tooManyNames
  }
}

function schemaOf(path: string): ResourceSchema | null {
  const segment = `/${path.split('/')[1] ?? ''}`.toLowerCase()
  if (segment === '/me') return userSchema
  return resourceSchemas.find((schema) => schema.endpoint.toLowerCase() === segment) ?? null
}

/**
 * `GET /api/v1/clients/{id}/attributes`: what a connection really sends beside what is expected, and
 * what its dialect makes of the difference. For those who may read the audit log.
 */
export function sightingRoutes(
  app: FastifyInstance,
  host: HttpHost,
  authenticate: Authenticate,
  log: RequestLog,
): void {
  app.get<{ Params: { id: string } }>('/clients/:id/attributes', async (request) => {
    const caller = await authenticate(request)
    host.engine.authorise(caller, 'audit.read', { type: 'audit', id: 'any' })
    const client = await host.store.read.client(request.params.id)
    if (!client || client.tenant !== caller.tenant) {
      throw errors.notFound({ what: 'Client', id: request.params.id })
    }
    await log.flush()
    const rows = await host.store.read.sightings(client.tenant, client.id)
    const { id, name, dialect } = client
    return {
      client: { id, name, dialect },
      attributes: resourceSchemas.flatMap((schema) => attributesOf(client, schema, rows)),
      neverSent: resourceSchemas.flatMap((schema) => missingOf(schema, rows)),
    }
  })
}

function attributesOf(
  { dialect }: Client,
  schema: ResourceSchema,
  rows: readonly AttributeSighting[],
) {
  const byPath = Map.groupBy(
    rows.filter((row) => row.resource === schema.type),
    (row) => row.path,
  )
  return [...byPath].map(([path, seen]) => ({
    resource: schema.type,
    path,
    expected: expectedAt(path, schema),
    forms: seen.map((row) => ({
      form: row.form,
      treatment: treatmentOf(row, schema, dialect),
      count: row.count,
      firstAt: row.firstAt,
      lastAt: row.lastAt,
      operation: row.operation,
    })),
  }))
}

/** Only of what a client sends at all: one that keeps no groups lacks nothing of theirs. */
function missingOf({ type }: ResourceSchema, rows: readonly AttributeSighting[]) {
  const paths = new Set(rows.filter((row) => row.resource === type).map((row) => row.path))
  if (paths.size === 0) return []
  return neverSent(type, paths).map((missing) => ({ resource: type, ...missing }))
}
