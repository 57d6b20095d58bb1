import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { Group } from '../domain/group.ts'
import type { JsonObject } from '../domain/json.ts'
import type { GroupWrite, MembersWrite } from '../domain/want.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { bindFilter, parseFilter } from '../scim/filter.ts'
import { readGroup, readGroupPatch } from '../scim/group.ts'
import type { Projection } from '../scim/render.ts'
import { finishDocument, listResponse, locationOf, project, weakTag } from '../scim/render.ts'
import { groupSchema, resolvePath } from '../scim/schema.ts'
import type { StoredDocument } from '../store/store.ts'
import type { Authenticate } from './auth.ts'
import {
  checkIfMatch,
  mediaType,
  notModified,
  pageOf,
  projectionOf,
  unlessConditional,
  type ById,
} from './scim.ts'
import type { HttpHost } from './server.ts'

/** The SCIM endpoint of groups; members are read only where the answer shows them. */
export function scimGroupRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store } = host
  const base = (): string => `${host.baseUrl()}/scim/v2`

  const bodyOf = (document: StoredDocument, projection: Projection | null): string => {
    const text = finishDocument({ ...document, baseUrl: base() })
    if (!projection) return text
    return JSON.stringify(project(JSON.parse(text) as JsonObject, projection, groupSchema))
  }

  /** @throws notFound also for a group of another directory */
  const documentOf = async (
    caller: Caller,
    id: string,
    members: boolean,
  ): Promise<{ readonly group: Group; readonly document: StoredDocument }> => {
    const group = await engine.group(caller, id)
    const document = await store.read.groupDocument(caller.tenant, id, { members })
    if (!document) throw errors.notFound({ what: 'Group', id })
    return { group, document }
  }

  const sendOne = async (
    request: FastifyRequest,
    reply: FastifyReply,
    caller: Caller,
    id: string,
    status: 200 | 201,
  ): Promise<FastifyReply> => {
    const projection = projectionOf(request.query)
    const { document } = await documentOf(caller, id, showsMembers(projection))
    const location = locationOf({ ...document, baseUrl: base() })
    void reply.headers({ etag: weakTag(document.etag), 'content-location': location })
    if (status === 201) void reply.header('location', location)
    return reply.status(status).type(mediaType).send(bodyOf(document, projection))
  }

  const write = async (
    request: FastifyRequest<ById>,
    caller: Caller,
    wantFrom: (
      group: Group,
      current: JsonObject,
    ) => Promise<{ readonly group: GroupWrite | null; readonly members: MembersWrite }>,
  ): Promise<void> =>
    unlessConditional(request, async () => {
      const { group, document } = await documentOf(caller, request.params.id, false)
      checkIfMatch(request, document)
      const current = JSON.parse(finishDocument({ ...document, baseUrl: base() })) as JsonObject
      const exact = request.headers['if-match'] !== undefined
      await engine.updateGroup(caller, group, await wantFrom(group, current), { exact })
    })

  return async (app) => {
    app.get('/Groups', async (request, reply) => {
      const caller = await authenticate(request)
      const { dialect } = caller.client
      const { startIndex, count, filter } = pageOf(request)
      const projection = projectionOf(request.query)
      const page = await store.read.listGroups({
        tenant: caller.tenant,
        visibility: engine.visibility(caller),
        filter: filter ? bindFilter(parseFilter(filter, dialect), groupSchema, { dialect }) : null,
        startIndex,
        count,
        members: showsMembers(projection),
      })
      const documents = page.rows.map((row) => bodyOf(row, projection))
      return reply.type(mediaType).send(listResponse({ total: page.total, startIndex, documents }))
    })

    app.post('/Groups', async (request, reply) => {
      const caller = await authenticate(request)
      const want = readGroup(request.body, { dialect: caller.client.dialect })
      const { id } = await engine.createGroup(caller, want.group, want.members)
      return sendOne(request, reply, caller, id, 201)
    })

    app.get<ById>('/Groups/:id', async (request, reply) => {
      const caller = await authenticate(request)
      const { document } = await documentOf(caller, request.params.id, false)
      if (notModified(request, document))
        return reply.status(304).header('etag', weakTag(document.etag)).send()
      return sendOne(request, reply, caller, request.params.id, 200)
    })

    app.put<ById>('/Groups/:id', async (request, reply) => {
      const caller = await authenticate(request)
      const { group, members } = readGroup(request.body, { dialect: caller.client.dialect })
      await write(request, caller, async () => ({
        group,
        members: { replace: true, add: members, remove: [] },
      }))
      return sendOne(request, reply, caller, request.params.id, 200)
    })

    app.patch<ById>('/Groups/:id', async (request, reply) => {
      const caller = await authenticate(request)
      await write(request, caller, (group, current) =>
        readGroupPatch(
          request.body,
          current,
          {
            among: (ids) => store.read.membersAmong(caller.tenant, group.id, ids),
            all: () => engine.membersOf(group),
          },
          { dialect: caller.client.dialect },
        ),
      )
      // RFC 7644 §3.5.2 leaves the choice; Entra wants no list of 50 000 back for one it added.
      if (!wantsBody(request)) return reply.status(204).send()
      return sendOne(request, reply, caller, request.params.id, 200)
    })

    app.delete<ById>('/Groups/:id', async (request, reply) => {
      const caller = await authenticate(request)
      await unlessConditional(request, async () => {
        const { group, document } = await documentOf(caller, request.params.id, false)
        checkIfMatch(request, document)
        await engine.deleteGroup(caller, group)
      })
      return reply.status(204).send()
    })
  }
}

/** With `attributes` the body is not optional (RFC 7644 §3.5.2). */
function wantsBody(request: FastifyRequest): boolean {
  const { accept } = request.headers
  if (projectionOf(request.query)?.attributes) return true
  return accept !== undefined && !/^\s*(\*\/\*)?\s*$/.test(accept)
}

/** Whether an answer under this projection may show members at all. */
function showsMembers(projection: Projection | null): boolean {
  if (!projection) return true
  const names = (list: readonly string[] | undefined) =>
    (list ?? []).map((name) => {
      const resolved = resolvePath(groupSchema, name.replace(/\[.*\]/, ''), true)
      return resolved.found ? resolved : null
    })
  const isMembers = (found: ReturnType<typeof names>[number]) =>
    found?.attribute?.name === 'members'
  const { attributes, excludedAttributes } = projection
  if (attributes && attributes.length > 0) return names(attributes).some(isMembers)
  return !names(excludedAttributes).some((found) => isMembers(found) && found?.sub === null)
}
