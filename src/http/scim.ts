import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Operation } from '../domain/operation.ts'
import type { Person } from '../domain/owner.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { replanned } from '../lifecycle/engine.ts'
import { pageMax, resourceTypes, schemas, serviceProviderConfig } from '../scim/discovery.ts'
import { bindFilter, parseFilter } from '../scim/filter.ts'
import { applyPatch, parsePatch } from '../scim/patch.ts'
import { finishDocument, listResponse, locationOf, project, weakTag } from '../scim/render.ts'
import { assertSameClass, checkImmutable, readCredential, readUser } from '../scim/resource.ts'
import type { ResourceSchema } from '../scim/schema.ts'
import { credentialSchema, userSchema } from '../scim/schema.ts'
import type { ListQuery, Page, StoredDocument } from '../store/store.ts'
import type { Authenticate } from './auth.ts'
import { orNull } from './errors.ts'
import type { HttpHost } from './server.ts'

export const mediaType = 'application/scim+json'

export interface ById {
  Params: { id: string }
}

/** The SCIM 2.0 endpoints (RFC 7644 §3.2): parse, decide in the engine, render. */
export function scimRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store } = host
  const base = (): string => `${host.baseUrl()}/scim/v2`

  const finish = (document: StoredDocument): string =>
    finishDocument({ ...document, baseUrl: base() })
  const parsed = (document: StoredDocument): JsonObject =>
    JSON.parse(finish(document)) as JsonObject

  /** The stored text untouched, unless the client asked for parts of it. */
  const bodyOf = (
    request: FastifyRequest,
    document: StoredDocument,
    schema: ResourceSchema,
  ): string => {
    const projection = projectionOf(request.query)
    return projection
      ? JSON.stringify(project(parsed(document), projection, schema))
      : finish(document)
  }

  const sendOne = (
    request: FastifyRequest,
    reply: FastifyReply,
    document: StoredDocument,
    schema: ResourceSchema,
    answer: { readonly status: number; readonly operations?: readonly Operation[] },
  ): FastifyReply => {
    const location = locationOf({ ...document, baseUrl: base() })
    void reply.headers({ etag: weakTag(document.etag), 'content-location': location })
    if (answer.status === 201) void reply.header('location', location)
    nameOperations(reply, answer.operations ?? [])
    return reply
      .status(answer.status)
      .type(mediaType)
      .send(bodyOf(request, document, schema))
  }

  const list = async (
    request: FastifyRequest,
    reply: FastifyReply,
    schema: ResourceSchema,
    read: (query: ListQuery) => Promise<Page<StoredDocument>>,
  ): Promise<FastifyReply> => {
    const caller = await authenticate(request)
    const { dialect } = caller.client
    const { startIndex, count, filter: text } = pageOf(request)
    const filter = text ? bindFilter(parseFilter(text, dialect), schema, { dialect }) : null
    const page = await read({
      tenant: caller.tenant,
      visibility: engine.visibility(caller),
      filter,
      startIndex,
      count,
    })
    const documents = page.rows.map((row) => bodyOf(request, row, schema))
    return reply.type(mediaType).send(listResponse({ total: page.total, startIndex, documents }))
  }

  const userDocument = async (caller: Caller, id: string): Promise<StoredDocument> => {
    const document = await store.read.userDocument(caller.tenant, id)
    const visible =
      document !== null &&
      (document.type === 'person'
        ? await orNull(engine.person(caller, id))
        : await orNull(engine.account(caller, id)))
    if (!document || !visible) throw errors.notFound({ what: 'User', id })
    return document
  }

  const credentialDocument = async (caller: Caller, id: string): Promise<StoredDocument> => {
    const { credential } = await engine.credential(caller, id)
    const document = await store.read.credentialDocument(caller.tenant, id)
    if (!document || credential.status === 'revoked')
      throw errors.notFound({ what: 'Credential', id })
    return document
  }

  /** PUT and PATCH of a User are one write: PATCH computes the full body first. */
  const writeUser = async (
    request: FastifyRequest<ById>,
    reply: FastifyReply,
    bodyFrom: (
      current: JsonObject,
      caller: Caller,
    ) => { readonly body: JsonObject; readonly mayRemove: boolean },
  ): Promise<FastifyReply> => {
    const caller = await authenticate(request)
    const { id } = request.params
    const options = { dialect: caller.client.dialect }
    const operations = await unlessConditional(request, async () => {
      const before = await userDocument(caller, id)
      checkIfMatch(request, before)
      const current = parsed(before)
      const { body, mayRemove } = bodyFrom(current, caller)
      assertSameClass(current, body)
      const want = readUser(body, options)
      if (want.type === 'person') {
        const person = await engine.person(caller, id)
        const { operation } = await engine.updatePerson(caller, person, want)
        return operation ? [operation] : []
      }
      const account = await engine.account(caller, id)
      if (want.kind !== account.kind) {
        throw errors.mutability({ path: 'kind', reason: `is immutable; it is "${account.kind}".` })
      }
      const result = await engine.updateAccount(caller, account, want, { mayRemove })
      return result.operations
    })
    const after = await userDocument(caller, id)
    return sendOne(request, reply, after, userSchema, { status: 200, operations })
  }

  const writeCredential = async (
    request: FastifyRequest<ById>,
    reply: FastifyReply,
    bodyFrom: (current: JsonObject, caller: Caller) => JsonObject,
  ): Promise<FastifyReply> => {
    const caller = await authenticate(request)
    const { id } = request.params
    await unlessConditional(request, async () => {
      const before = await credentialDocument(caller, id)
      checkIfMatch(request, before)
      const current = parsed(before)
      const body = bodyFrom(current, caller)
      checkImmutable(current, body, credentialSchema)
      const want = readCredential(
        { ...immutableOf(current), ...body },
        { dialect: caller.client.dialect },
      )
      const { credential } = await engine.credential(caller, id)
      return engine.updateCredential(caller, credential, want)
    })
    return sendOne(request, reply, await credentialDocument(caller, id), credentialSchema, {
      status: 200,
    })
  }

  return async (app) => {
    app.get('/Users', (request, reply) =>
      list(request, reply, userSchema, (q) => store.read.listUsers(q)),
    )

    app.post('/Users', async (request, reply) => {
      const caller = await authenticate(request)
      const want = readUser(request.body, { dialect: caller.client.dialect })
      const created =
        want.type === 'person'
          ? { id: (await engine.createPerson(caller, want)).person.id, operations: [] }
          : await engine
              .requestAccount(caller, want)
              .then(({ account, operations }) => ({ id: account.id, operations }))
      const document = await store.read.userDocument(caller.tenant, created.id)
      return sendOne(request, reply, document!, userSchema, {
        status: 201,
        operations: created.operations,
      })
    })

    app.get<ById>('/Users/:id', async (request, reply) => {
      const caller = await authenticate(request)
      const document = await userDocument(caller, request.params.id)
      if (notModified(request, document))
        return reply.status(304).header('etag', weakTag(document.etag)).send()
      return sendOne(request, reply, document, userSchema, { status: 200 })
    })

    app.put<ById>('/Users/:id', (request, reply) =>
      writeUser(request, reply, () => ({
        body: request.body as JsonObject,
        // Leaving a credential out revokes it: only for a client that has read the current list.
        mayRemove: request.headers['if-match'] !== undefined,
      })),
    )

    app.patch<ById>('/Users/:id', (request, reply) =>
      writeUser(request, reply, (current, caller) => {
        const { dialect } = caller.client
        const patched = applyPatch(current, parsePatch(request.body, dialect), userSchema, {
          dialect,
        })
        return { body: patched.resource, mayRemove: true }
      }),
    )

    app.delete<ById>('/Users/:id', async (request, reply) => {
      const caller = await authenticate(request)
      const { id } = request.params
      const operations = await unlessConditional(request, async () => {
        const document = await userDocument(caller, id)
        checkIfMatch(request, document)
        if (document.type === 'account') {
          return (await engine.deleteAccount(caller, await engine.account(caller, id))).operations
        }
        const person: Person = await engine.person(caller, id)
        const { operation } = await engine.deletePerson(caller, person)
        return operation ? [operation] : []
      })
      return nameOperations(reply, operations).status(204).send()
    })

    app.get('/Credentials', (request, reply) =>
      list(request, reply, credentialSchema, (q) => store.read.listCredentials(q)),
    )

    app.post('/Credentials', async (request, reply) => {
      const caller = await authenticate(request)
      const want = readCredential(request.body, { dialect: caller.client.dialect })
      const { credential, operation } = await engine.requestCredential(caller, want)
      const document = await store.read.credentialDocument(caller.tenant, credential.id)
      return sendOne(request, reply, document!, credentialSchema, {
        status: 201,
        operations: operation ? [operation] : [],
      })
    })

    app.get<ById>('/Credentials/:id', async (request, reply) => {
      const caller = await authenticate(request)
      const document = await credentialDocument(caller, request.params.id)
      if (notModified(request, document))
        return reply.status(304).header('etag', weakTag(document.etag)).send()
      return sendOne(request, reply, document, credentialSchema, { status: 200 })
    })

    app.put<ById>('/Credentials/:id', (request, reply) =>
      writeCredential(request, reply, () => request.body as JsonObject),
    )

    app.patch<ById>('/Credentials/:id', (request, reply) =>
      writeCredential(request, reply, (current, caller) => {
        const { dialect } = caller.client
        return applyPatch(current, parsePatch(request.body, dialect), credentialSchema, { dialect })
          .resource
      }),
    )

    app.delete<ById>('/Credentials/:id', async (request, reply) => {
      const caller = await authenticate(request)
      const { id } = request.params
      const operation = await unlessConditional(request, async () => {
        const document = await credentialDocument(caller, id)
        checkIfMatch(request, document)
        return engine.revokeCredential(caller, id)
      })
      return nameOperations(reply, [operation]).status(204).send()
    })

    discovery(app, base)

    for (const path of [
      '/Me',
      '/Bulk',
      '/.search',
      '/Users/.search',
      '/Groups/.search',
      '/Credentials/.search',
    ]) {
      app.all(path, async (request) => {
        await authenticate(request)
        throw errors.notImplemented({ what: path })
      })
    }
  }
}

/** Public (RFC 7644 §4): a client has to be able to learn how to authenticate. */
function discovery(app: Parameters<FastifyPluginAsync>[0], base: () => string): void {
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
    app.get(path, (request, reply) => {
      if ((request.query as { filter?: string }).filter !== undefined) {
        throw errors.forbidden({
          action: 'filter discovery endpoints',
          role: 'any',
          reason: 'RFC 7644 section 4 forbids it; leave the filter out.',
        })
      }
      return reply.type(mediaType).send(answer(request))
    })
    app.route({
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

/** A client that sent If-Match wants to hear that it lost a race; any other one's write is planned anew. */
export function unlessConditional<T>(request: FastifyRequest, write: () => Promise<T>): Promise<T> {
  return request.headers['if-match'] === undefined ? replanned(write) : write()
}

/** Paging by index (RFC 7644 §3.4.2.4) and the filter as text. @throws invalidCount */
export function pageOf(request: FastifyRequest): {
  readonly startIndex: number
  readonly count: number
  readonly filter: string | undefined
} {
  const query = (request.query ?? {}) as Readonly<Record<string, string | undefined>>
  const first = wholeNumber(query['startIndex'] ?? query['startindex'], 'startIndex', 1)
  const count = wholeNumber(query['count'], 'count', 100)
  return {
    startIndex: Math.max(1, first),
    count: Math.min(Math.max(0, count), pageMax),
    filter: query['filter'],
  }
}

/** What a PUT of a credential may leave out and still mean the same (immutable, RFC 7644 §3.5.1). */
function immutableOf(current: JsonObject): JsonObject {
  const kept = ['schemas', 'serviceAccount', 'provider', 'kind', 'deliverTo']
  return Object.fromEntries(
    kept.flatMap((name) => (current[name] === undefined ? [] : [[name, current[name]]])),
  )
}

/** Tells the client which operations its write started (contract §3). */
function nameOperations(reply: FastifyReply, operations: readonly Operation[]): FastifyReply {
  return operations.length === 0
    ? reply
    : reply.header('custody-operation', operations.map((o) => o.id).join(', '))
}

export function projectionOf(
  query: unknown,
): { readonly attributes?: string[]; readonly excludedAttributes?: string[] } | null {
  const { attributes, excludedAttributes } = (query ?? {}) as Readonly<
    Record<string, string | undefined>
  >
  if (!attributes && !excludedAttributes) return null
  return {
    ...(attributes ? { attributes: attributes.split(',').map((a) => a.trim()) } : {}),
    ...(excludedAttributes
      ? { excludedAttributes: excludedAttributes.split(',').map((a) => a.trim()) }
      : {}),
  }
}

function wholeNumber(value: string | undefined, name: string, missing: number): number {
  if (value === undefined || value === '') return missing
  if (!/^-?\d{1,12}$/.test(value)) throw errors.invalidCount({ name })
  return Number(value)
}

/** RFC 9110 §13.1.1 with weak comparison, as RFC 7644 §3.14 wants for weak tags. @throws preconditionFailed */
export function checkIfMatch(request: FastifyRequest, document: StoredDocument): void {
  const header = request.headers['if-match']
  if (header !== undefined && !tagListed(header, document.etag)) {
    throw errors.preconditionFailed({ etag: weakTag(document.etag) })
  }
}

export function notModified(request: FastifyRequest, document: StoredDocument): boolean {
  const header = request.headers['if-none-match']
  return header !== undefined && tagListed(header, document.etag)
}

function tagListed(header: string, etag: string): boolean {
  return header.split(',').some((tag) => {
    const trimmed = tag.trim()
    return trimmed === '*' || trimmed.replace(/^W\//, '') === `"${etag}"`
  })
}
